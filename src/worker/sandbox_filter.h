#pragma once

/* What the generator of the system call filters and their user agree on. */

/* Stands in a filter for the id of the process that installs it: no process has it. */
#define SANDBOX_FILTER_PID 0x5ab0c0deu

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANDBOX_SANITIZED 1
#else
#define SANDBOX_SANITIZED 0
#endif

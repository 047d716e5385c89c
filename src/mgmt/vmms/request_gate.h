#pragma once

#include <stdbool.h>

struct request;
struct vm;

/*
 * The last thing between a call that its caller may make and the method's handler: the files and
 * devices that it names are asked about (file_rules.h, opener.h), for as long as it takes, and the
 * handler is called, or the call fails with Denied.  vm is NULL for methods that mean none.  Loop
 * thread.
 */
void request_admit(struct request *request, struct vm *vm);

/* Whether it knows what files a method of that name gives to a VM.  Any thread. */
bool request_gate_knows(const char *method);

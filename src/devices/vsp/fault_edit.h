#pragma once

#include "vmbus/fault.h"

/* How completions of our devices fail in the fault mode (vmbus/fault.h). */
extern const struct fault_editor device_fault_editors[];

#pragma once

#include "base/error.h"

struct vm;

/*
 * Starts a VM that is off: its supervisor is on its way when this returns, and the VM starting.
 * What comes of it is seen by its state.  -errno with a sentence, and the VM as it was.  Loop
 * thread.
 */
int launch_vm(struct vm *vm, struct error *err);

#pragma once

#include "base/varlink.h"

/* io.bulkhead.VM: what the socket of one VM offers.  The context of its calls is the supervisor. */
const struct varlink_service *vm_interface_service(void);

/* Answers a forwarded call: with the worker's reply, or, where that is NULL, with its error. */
void vm_interface_answer(struct varlink_call *call, const json_t *reply, const char *error);

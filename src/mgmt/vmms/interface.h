#pragma once

/* The Varlink service of the daemon: every method of io.bulkhead.VMMS by its handler.  Its context
 * is the struct vmms. */
const struct varlink_service *vmms_interface(void);

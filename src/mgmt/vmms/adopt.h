#pragma once

struct vmms;

/*
 * The VMs that run already when the daemon begins, and those that ended since another daemon looked
 * after them.  Loop thread.
 */

/*
 * Takes over all, and makes no file for it.  The supervisors are asked how their VMs are; done, for
 * each once, is vmms_vm_known.
 */
void adopt_all(struct vmms *vmms);

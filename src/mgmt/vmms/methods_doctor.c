#include "base/checked.h"
#include "mgmt/doctor_findings.h"
#include "mgmt/vmms/chore.h"
#include "mgmt/vmms/methods.h"
#include "mgmt/vmms/request.h"
#include "mgmt/vmms/vmms.h"

/* With the daemon's rights, for so its VMs have /dev/kvm.  The caller has no hold on the process.
 */
static int work(const struct request *request, struct chore_child *child, json_t **reply,
		struct error *err)
{
	return doctor_findings(reply, err);
}

static json_t *reply_findings(const json_t *findings)
{
	return json_deep_copy(findings);
}

void method_check_host(struct request *request, struct vm *vm)
{
	static const struct chore_kind kind = {.work = work, .reply = reply_findings};

	chore_begin(request->vmms->chores, request, &kind);
}

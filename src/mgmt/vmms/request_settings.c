#include <errno.h>

#include "mgmt/vmms/request.h"
#include "mgmt/vmms/settings.h"
#include "mgmt/vmms/vm.h"

void request_fail_settings(struct request *request, const char *name, int r,
			   const struct error *err)
{
	char member[SETTINGS_MEMBER_SIZE];
	const char *between = name[0] ? ": " : "";

	settings_member(err, member);
	if (r == -EINVAL)
		request_fail(request, "BadSettings", json_pack("{s:s}", "member", member), "%s%s%s",
			     name, between, err->text);
	else
		request_fail(request, "Failed", NULL, "%s%s%s", name, between, err->text);
}

int request_attach(struct request *request, const struct settings *old, const char *name,
		   struct settings **settings)
{
	struct settings *attached;
	struct error err;
	int r = settings_attach(old, *settings, request->caller.uid, &attached, &err);

	settings_free(*settings);
	*settings = r ? NULL : attached;
	if (r)
		request_fail_settings(request, name, r, &err);
	return r;
}

struct settings *request_changed(struct request *request, const struct vm *vm, const json_t *change)
{
	struct settings *settings;
	struct error err;
	int r = settings_change(vm->settings, change, &settings, &err);

	if (r) {
		request_fail_settings(request, vm_name(vm), r, &err);
		return NULL;
	}
	return request_attach(request, vm->settings, vm_name(vm), &settings) ? NULL : settings;
}

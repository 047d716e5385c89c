#include "mgmt/vmms/access.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "mgmt/vmms/access_cache.h"
#include "mgmt/vmms/access_rules.h"
#include "mgmt/vmms/settings.h"
#include "mgmt/vmms/vm.h"
#include "mgmt/vmms/vmms.h"

struct access {
	struct access_cache *cache;
	struct access_names names;
	struct access_rules rules;
};

int access_new(const char *group, struct access **out)
{
	struct access *access = calloc(1, sizeof(*access));
	int r;

	if (!access)
		return -ENOMEM;
	r = access_cache_new(&access_names_of_host, &access->cache, &access->names);
	if (r) {
		free(access);
		return r;
	}
	access->rules = (struct access_rules){geteuid(), group, &access->names};
	*out = access;
	return 0;
}

void access_give_socket(const struct access *access, const char *path)
{
	gid_t group;

	if (!access_group(&access->rules, &group) && lchown(path, (uid_t)-1, group))
		return; /* root alone may use it then */
}

void access_free(struct access *access)
{
	if (!access)
		return;
	access_cache_free(access->cache);
	free(access);
}

static int check_host(const struct access_rules *rules, const struct caller *caller,
		      enum access_right right, struct error *err)
{
	if (access_is_administrator(rules, caller))
		return 0;
	if (rules->daemon != 0)
		return error_set(err, EACCES,
				 "this daemon is that of user %u; talk to your own, or to root's",
				 rules->daemon);
	if (right == ACCESS_CONNECT)
		return 0;
	return error_set(err, EACCES,
			 "user %u is no administrator of this host's VMs; root can add the user to "
			 "group %s",
			 caller->uid, rules->administrators);
}

int access_check_caller(struct vmms *vmms, const struct caller *caller, const struct vm *vm,
			enum access_right right, struct error *err)
{
	const struct access_rules *rules = &vmms->access->rules;
	struct access_subject subject;

	if (!vm)
		return check_host(rules, caller, right, err);
	subject.owner = settings_owner(vm->settings)->uid;
	subject.list = settings_access(vm->settings);
	if (access_allows(rules, caller, &subject, right))
		return 0;
	return error_set(
		err, EACCES,
		"user %u has no right to %s it; its owner or a member of group %s can give "
		"it",
		caller->uid, access_right_name(right), rules->administrators);
}

int access_check(struct vmms *vmms, const struct varlink_call *call, const struct vm *vm,
		 enum access_right right, struct error *err)
{
	struct caller caller;
	int r;

	if (caller_of(call, &caller))
		return error_set(err, EACCES,
				 "the daemon cannot tell who calls; connect again and try again");
	r = access_check_caller(vmms, &caller, vm, right, err);
	caller_free(&caller);
	return r;
}

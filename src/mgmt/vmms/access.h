#pragma once

#include <jansson.h>

#include "base/error.h"

struct access;
struct caller;
struct varlink_call;
struct vm;
struct vmms;

/* Who may do what with the daemon and its VMs; access_rules.h has the rules.  Loop thread. */

#define ACCESS_GROUP "bulkhead" /* of the administrators, where no other is given */

enum access_right {
	ACCESS_CONNECT,	   /* see it */
	ACCESS_OPERATE,	   /* start, stop and use it */
	ACCESS_ADMINISTER, /* change and remove it */
};

/* group: the administrators', by name or number; must outlive it.  -ENOMEM. */
int access_new(const char *group, struct access **out);
/* Gives the file at path, a socket, to the administrators' group; stays as it is where there is
 * none. */
void access_give_socket(const struct access *access, const char *path);
/* NULL is allowed. */
void access_free(struct access *access);

/*
 * Whether the caller has that right to vm, or to the daemon as such where vm is NULL
 * (ACCESS_CONNECT is everybody's then).  -EACCES with a sentence where not.
 */
int access_check(struct vmms *vmms, const struct varlink_call *call, const struct vm *vm,
		 enum access_right right, struct error *err);
/* The same for a caller who is known already. */
int access_check_caller(struct vmms *vmms, const struct caller *caller, const struct vm *vm,
			enum access_right right, struct error *err);

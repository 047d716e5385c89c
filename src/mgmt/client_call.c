#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/unix_socket.h"
#include "base/varlink.h"
#include "mgmt/client.h"
#include "mgmt/client_daemon.h"
#include "mgmt/vm_socket.h"

#define VM_INTERFACE "io.bulkhead.VM."

/* Methods of a VM that the daemon calls otherwise; without a second name it has none like it. */
static const struct {
	const char *vm;
	const char *daemon;
	const char *instead;
} methods[] = {
	{"Pause", "PauseVM", NULL},
	{"Resume", "ResumeVM", NULL},
	{"Save", NULL, "use `bulkhead vm save`, which needs no DIRECTORY"},
	{"AttachController", NULL, "run it by `bulkhead run`"},
	{"DetachController", NULL, "run it by `bulkhead run`"},
};

/* One call, on whomever it is. */
struct call {
	const char *name; /* the VM's */
	const char *method;
	const json_t *parameters;
	int timeout_ms;
	int *fd; /* may be NULL */
	void (*each)(void *context, const json_t *reply);
	void *context;
};

/* Puts the VM's name before a sentence that does not have it. */
static int name_vm(const char *name, int r, struct error *err)
{
	const struct error sentence = *err;

	if (strstr(sentence.text, name))
		return r;
	return error_set(err, -r, "%s: %.400s", name, sentence.text);
}

/* Whether somebody listens where a `bulkhead run` of that name would. */
static bool run_listens(const char *name)
{
	CLEANUP_FREE char *path = NULL;
	struct error ignored;
	int fd;

	if (vm_socket_is_daemon(name) || vm_socket_path(name, &path, &ignored))
		return false;
	fd = unix_connect_now(path);
	if (fd >= 0)
		close(fd);
	return fd >= 0 || (fd != -ENOENT && fd != -ECONNREFUSED);
}

static int find_nobody(const char *name, struct error *err)
{
	CLEANUP_FREE char *path = NULL;
	CLEANUP_FREE char *daemon = NULL;
	struct error ignored;
	int known = daemon_knows(name, &ignored);
	int r = daemon_socket_path(&daemon, err);

	if (!r)
		r = vm_socket_path(name, &path, err);
	if (r)
		return r;
	if (known == 0)
		return error_set(err, ESRCH,
				 "no VM called %s runs, nor does the daemon at %.160s keep one; "
				 "`bulkhead vm list` has those it keeps",
				 name, daemon);
	return error_set(err, ESRCH,
			 "no VM called %s runs (nobody listens at %.160s, nor a daemon at %.160s)",
			 name, path, daemon);
}

int client_find(const char *name, enum client_owner *owner, struct error *err)
{
	int keeps = daemon_knows(name, err);
	bool runs = keeps != 0 && keeps != -EHOSTDOWN && run_listens(name);

	if (keeps > 0 && runs)
		return error_set(err, EEXIST,
				 "%s is a VM of `bulkhead run` and one that the daemon keeps; use "
				 "the verbs of `bulkhead vm` for the daemon's, or its UUID",
				 name);
	/* A daemon that cannot say whose it is keeps nobody from a VM that runs without it. */
	if (keeps < 0 && keeps != -EHOSTDOWN && !runs)
		return keeps;
	*owner = keeps > 0 ? CLIENT_DAEMON : CLIENT_RUN;
	return 0;
}

static int call_run(const struct call *call, json_t **reply, struct error *err)
{
	CLEANUP_FREE char *path = NULL;
	const char *message;
	int r;

	if (vm_socket_is_daemon(call->name)) /* who listens there is no VM */
		return find_nobody(call->name, err);
	r = vm_socket_path(call->name, &path, err);
	if (r)
		return r;
	if (call->each)
		r = varlink_call_more(path, call->method, call->parameters, call->timeout_ms,
				      call->each, call->context, reply, err);
	else
		r = varlink_call_path_fd(path, call->method, call->parameters, call->timeout_ms,
					 reply, call->fd, err);
	if (r == -ENOENT || r == -ECONNREFUSED)
		return find_nobody(call->name, err);
	if (r && r != -EREMOTEIO)
		return name_vm(call->name, r, err);
	if (!r)
		return 0;
	message = json_string_value(
		json_object_get(json_object_get(*reply, "parameters"), "message"));
	error_set(err, EREMOTEIO, "%s: %s", call->name,
		  message ? message : json_string_value(json_object_get(*reply, "error")));
	json_decref(*reply);
	return r;
}

/* The method of the daemon's that does the same: *method is borrowed. */
static int translate(const struct call *call, const char **method, struct error *err)
{
	size_t length = strlen(VM_INTERFACE);

	if (strncmp(call->method, VM_INTERFACE, length) != 0) {
		*method = call->method + strlen(DAEMON_INTERFACE ".");
		return 0;
	}
	*method = call->method + length;
	for (size_t i = 0; i < ARRAY_LENGTH(methods); i++) {
		if (strcmp(methods[i].vm, *method) != 0)
			continue;
		if (!methods[i].daemon)
			return error_set(err, EOPNOTSUPP,
					 "%s is kept by the daemon, which has nothing like it; %s",
					 call->name, methods[i].instead);
		*method = methods[i].daemon;
	}
	return 0;
}

static int call_daemon(const struct call *call, json_t **reply, struct error *err)
{
	json_t *parameters;
	const char *method;
	int r = translate(call, &method, err);

	if (r)
		return r;
	parameters = json_pack("{s:s}", "vm", call->name);
	if (!parameters)
		return error_set(err, EINVAL, "\"%.80s\" cannot be the name of a VM", call->name);
	json_object_update(parameters, (json_t *)call->parameters);
	if (call->each)
		r = daemon_call_more(method, parameters, call->timeout_ms, call->each,
				     call->context, reply, err);
	else
		r = daemon_call_fd(method, parameters, call->timeout_ms, reply, call->fd, err);
	json_decref(parameters);
	return r && r != -EHOSTDOWN ? name_vm(call->name, r, err) : r;
}

static int make_call(const struct call *call, json_t **reply, struct error *err)
{
	enum client_owner owner = CLIENT_DAEMON;
	int r = 0;

	if (strncmp(call->method, VM_INTERFACE, strlen(VM_INTERFACE)) == 0)
		r = client_find(call->name, &owner, err);
	if (r)
		return r;
	return owner == CLIENT_RUN ? call_run(call, reply, err) : call_daemon(call, reply, err);
}

int client_call(const char *name, const char *method, const json_t *parameters, int timeout_ms,
		json_t **reply, struct error *err)
{
	return client_call_fd(name, method, parameters, timeout_ms, reply, NULL, err);
}

int client_call_fd(const char *name, const char *method, const json_t *parameters, int timeout_ms,
		   json_t **reply, int *fd, struct error *err)
{
	const struct call call = {.name = name,
				  .method = method,
				  .parameters = parameters,
				  .timeout_ms = timeout_ms,
				  .fd = fd};

	return make_call(&call, reply, err);
}

int client_call_more(const char *name, const char *method, const json_t *parameters, int timeout_ms,
		     void (*each)(void *context, const json_t *reply), void *context,
		     json_t **reply, struct error *err)
{
	const struct call call = {.name = name,
				  .method = method,
				  .parameters = parameters,
				  .timeout_ms = timeout_ms,
				  .each = each,
				  .context = context};

	return make_call(&call, reply, err);
}

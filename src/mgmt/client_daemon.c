#include "mgmt/client_daemon.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/json_link.h"
#include "base/unix_socket.h"
#include "base/varlink.h"
#include "mgmt/command.h"
#include "mgmt/vm_socket.h"
#include "worker/protocol.h"

#define SYSTEM_SOCKET "/run/bulkhead/" VM_SOCKET_DAEMON ".sock"
/* Of the same daemon, for users who are not in its group. */
#define PUBLIC_SOCKET "/run/bulkhead/public.sock"
#define ASK_MS	      10000 /* for whether it knows a VM */

/* The errors of the interface, and of Varlink itself where they mean that versions differ. */
static const struct {
	const char *name;
	int errnum;
	int code;
} errors[] = {
	{DAEMON_INTERFACE ".NotFound", ESRCH, EXIT_NOT_FOUND},
	{DAEMON_INTERFACE ".Exists", EEXIST, EXIT_CONFLICT},
	{DAEMON_INTERFACE ".Conflict", ESTALE, EXIT_CONFLICT},
	{DAEMON_INTERFACE ".WrongState", EBADFD, EXIT_WRONG_STATE},
	{DAEMON_INTERFACE ".Denied", EPERM, EXIT_DENIED},
	{DAEMON_INTERFACE ".Timeout", ETIMEDOUT, EXIT_TIMEOUT},
	{DAEMON_INTERFACE ".BadSettings", EINVAL, EXIT_USAGE},
};

int client_exit(int r)
{
	if (r == -EHOSTDOWN)
		return EXIT_NO_DAEMON;
	for (size_t i = 0; i < ARRAY_LENGTH(errors); i++) {
		if (errors[i].errnum == -r)
			return errors[i].code;
	}
	return r ? EXIT_VMM_ERROR : 0;
}

int daemon_socket_path(char **path, struct error *err)
{
	const char *given = getenv(DAEMON_SOCKET_VARIABLE);
	const char *top = getenv("XDG_RUNTIME_DIR");
	char *own = NULL;

	if (given && *given)
		own = strdup(given);
	else if (!top || top[0] != '/')
		own = strdup(SYSTEM_SOCKET);
	else if (asprintf(&own, "%s/bulkhead/" VM_SOCKET_DAEMON ".sock", top) < 0)
		own = NULL;
	if (own && !(given && *given) && access(own, F_OK)) {
		free(own);
		own = strdup(SYSTEM_SOCKET);
	}
	if (own && !strcmp(own, SYSTEM_SOCKET) && eaccess(own, W_OK) && errno == EACCES &&
	    !eaccess(PUBLIC_SOCKET, W_OK)) {
		free(own);
		own = strdup(PUBLIC_SOCKET);
	}
	if (!own)
		return error_memory(err, "the path of the daemon's socket");
	*path = own;
	return 0;
}

int daemon_error(const json_t *answer, struct error *err)
{
	const char *name = json_string_value(json_object_get(answer, "error"));
	const json_t *parameters = json_object_get(answer, "parameters");
	const char *message = json_string_value(json_object_get(parameters, "message"));
	const char *parameter = json_string_value(json_object_get(parameters, "parameter"));
	int errnum = EREMOTEIO;

	for (size_t i = 0; name && i < ARRAY_LENGTH(errors); i++) {
		if (!strcmp(errors[i].name, name))
			errnum = errors[i].errnum;
	}
	if (message)
		return error_set(err, errnum, "%s", message);
	if (parameter)
		return error_set(err, EINVAL,
				 "the daemon does not take %s as it was given; correct it, or use "
				 "the bulkhead of the daemon's version",
				 parameter);
	return error_set(err, errnum,
			 "the daemon answers %.200s; use the bulkhead of the daemon's version",
			 name ? name : "what is no Varlink");
}

int daemon_unreachable(const char *path, int r, struct error *err)
{
	switch (r) {
	case -ENOENT:
	case -ECONNREFUSED:
	case -ENOTDIR:
		return error_set(err, EHOSTDOWN,
				 "no daemon runs at %.200s; start bulkhead-vmms, or use `bulkhead "
				 "run`, which needs none",
				 path);
	case -EACCES:
		return error_set(err, EPERM,
				 "you may not use the daemon at %.200s; join the group bulkhead, "
				 "or start a bulkhead-vmms of your own",
				 path);
	default:
		return error_set(err, -r, "no answer from the daemon at %.200s: %s; try again",
				 path, strerror(-r));
	}
}

/* What became of a call on the socket at path. */
static int explain(const char *path, int r, int timeout_ms, json_t **reply, struct error *err)
{
	switch (r) {
	case 0:
		return 0;
	case -EREMOTEIO:
		r = daemon_error(*reply, err);
		json_decref(*reply);
		return r;
	case -EPIPE:
	case -ECONNRESET:
		return error_set(err, EREMOTEIO,
				 "the daemon at %.200s ended, or has too many clients, before it "
				 "answered; try again",
				 path);
	case -ETIMEDOUT:
		return error_set(err, ETIMEDOUT,
				 "the daemon at %.200s did not answer within %d s; try again, or "
				 "start bulkhead-vmms anew: no VM ends by that",
				 path, timeout_ms / 1000);
	default:
		return daemon_unreachable(path, r, err);
	}
}

static int name_method(const char *method, char **name, struct error *err)
{
	if (asprintf(name, DAEMON_INTERFACE ".%s", method) >= 0)
		return 0;
	*name = NULL;
	return error_memory(err, "the call");
}

int daemon_call(const char *method, const json_t *parameters, int timeout_ms, json_t **reply,
		struct error *err)
{
	return daemon_call_fd(method, parameters, timeout_ms, reply, NULL, err);
}

int daemon_call_fd(const char *method, const json_t *parameters, int timeout_ms, json_t **reply,
		   int *fd, struct error *err)
{
	CLEANUP_FREE char *path = NULL;
	CLEANUP_FREE char *name = NULL;
	int r = daemon_socket_path(&path, err);

	if (!r)
		r = name_method(method, &name, err);
	if (r)
		return r;
	r = varlink_call_path_fd(path, name, parameters, timeout_ms, reply, fd, err);
	return explain(path, r, timeout_ms, reply, err);
}

int daemon_call_more(const char *method, const json_t *parameters, int timeout_ms,
		     void (*each)(void *context, const json_t *reply), void *context,
		     json_t **reply, struct error *err)
{
	CLEANUP_FREE char *path = NULL;
	CLEANUP_FREE char *name = NULL;
	int r = daemon_socket_path(&path, err);

	if (!r)
		r = name_method(method, &name, err);
	if (r)
		return r;
	r = varlink_call_more(path, name, parameters, timeout_ms, each, context, reply, err);
	return explain(path, r, timeout_ms, reply, err);
}

int daemon_knows(const char *name, struct error *err)
{
	json_t *parameters = json_pack("{s:s}", "vm", name);
	json_t *reply;
	int r = daemon_call("GetVM", parameters, ASK_MS, &reply, err);

	json_decref(parameters);
	if (r)
		return r == -ESRCH ? 0 : r;
	json_decref(reply);
	return 1;
}

int daemon_connect(struct json_link **out, struct error *err)
{
	const struct json_link_limits limits = {.message_max = VARLINK_REPLY_MAX};
	CLEANUP_FREE char *path = NULL;
	int r = daemon_socket_path(&path, err);
	int fd;

	if (r)
		return r;
	fd = unix_connect(path);
	if (fd < 0)
		return daemon_unreachable(path, fd, err);
	r = json_link_new(fd, &limits, out);
	if (!r)
		return 0;
	close(fd);
	return error_memory(err, "the connection");
}

int daemon_send(struct json_link *link, const char *method, json_t *parameters, bool more)
{
	CLEANUP_FREE char *name = NULL;
	struct error ignored;
	json_t *call = NULL;
	int r = name_method(method, &name, &ignored);

	if (!r)
		call = json_pack("{s:s, s:O}", "method", name, "parameters", parameters);
	json_decref(parameters);
	if (call && more)
		json_object_set_new(call, "more", json_true());
	r = call ? json_link_send(link, call, NULL, 0) : -ENOMEM;
	json_decref(call);
	return r;
}

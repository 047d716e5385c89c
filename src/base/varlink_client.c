#include "base/varlink.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/json_link.h"
#include "base/unix_socket.h"

/* *continues: whether another follows. */
static int wait_reply(struct json_link *link, int timeout_ms, json_t **reply, bool *continues,
		      struct error *err)
{
	json_t *answer;
	json_t *parameters;
	int r = json_link_drain(link, timeout_ms);

	if (!r)
		r = json_link_wait(link, timeout_ms, &answer);
	if (r == -ENODATA || r == -EPIPE || r == -ECONNRESET)
		return error_set(
			err, EPIPE,
			"the VM ended, or has too many clients, before it answered; try again");
	if (r == -ETIMEDOUT)
		return error_set(err, -r,
				 "no answer within %d s, as when it waits for a disk of the host; "
				 "try again, or end its `bulkhead run` by SIGTERM",
				 timeout_ms / 1000);
	if (r < 0)
		return error_set(err, -r, "no answer (%s); end its `bulkhead run` by SIGTERM",
				 strerror(-r));
	if (json_object_get(answer, "error")) {
		*reply = answer;
		return -EREMOTEIO;
	}
	*continues = json_is_true(json_object_get(answer, "continues"));
	parameters = json_object_get(answer, "parameters");
	*reply = parameters ? json_incref(parameters) : json_object();
	json_decref(answer);
	return 0;
}

/* fds_max: how many descriptors the reply may bring. */
static int send_call(const char *path, const char *method, const json_t *parameters, bool more,
		     unsigned int fds_max, struct json_link **out, struct error *err)
{
	const struct json_link_limits limits = {.message_max = VARLINK_REPLY_MAX,
						.fds_max = fds_max};
	struct json_link *link;
	int fd = unix_connect(path);
	json_t *call;
	int r;

	if (fd < 0)
		return error_set(err, -fd, "cannot reach %s: %s", path, strerror(-fd));
	r = json_link_new(fd, &limits, &link);
	if (r) {
		close(fd);
		return error_memory(err, "the connection");
	}
	call = json_pack("{s:s, s:O*}", "method", method, "parameters", parameters);
	if (call && more)
		json_object_set_new(call, "more", json_true());
	r = call ? json_link_send(link, call, NULL, 0) : -ENOMEM;
	json_decref(call);
	if (r == 0) {
		*out = link;
		return 0;
	}
	json_link_free(link);
	if (r == -EPIPE || r == -ECONNRESET)
		return error_set(err, -r, "the VM ended, or has too many clients; try again");
	return error_set(err, -r, "cannot send to %s: %s; try again", path, strerror(-r));
}

int varlink_call_path(const char *path, const char *method, const json_t *parameters,
		      int timeout_ms, json_t **reply, struct error *err)
{
	return varlink_call_path_fd(path, method, parameters, timeout_ms, reply, NULL, err);
}

int varlink_call_path_fd(const char *path, const char *method, const json_t *parameters,
			 int timeout_ms, json_t **reply, int *reply_fd, struct error *err)
{
	struct json_link *link;
	bool continues;
	int r = send_call(path, method, parameters, false, reply_fd ? 1 : 0, &link, err);

	if (reply_fd)
		*reply_fd = -1;
	if (r < 0)
		return r;
	r = wait_reply(link, timeout_ms, reply, &continues, err);
	if (reply_fd && r == 0)
		*reply_fd = json_link_take_fd(link);
	json_link_free(link);
	return r;
}

int varlink_call_more(const char *path, const char *method, const json_t *parameters,
		      int timeout_ms, void (*each)(void *context, const json_t *reply),
		      void *context, json_t **reply, struct error *err)
{
	struct json_link *link;
	bool continues = true;
	int r = send_call(path, method, parameters, true, 0, &link, err);

	if (r < 0)
		return r;
	for (;;) {
		r = wait_reply(link, timeout_ms, reply, &continues, err);
		if (r < 0 || !continues)
			break;
		each(context, *reply);
		json_decref(*reply);
		timeout_ms = -1;
	}
	json_link_free(link);
	return r;
}

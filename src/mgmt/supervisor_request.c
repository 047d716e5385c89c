#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>

#include "mgmt/supervisor_internal.h"
#include "mgmt/vm_interface.h"

/* A request that the worker has not answered yet. */
struct request {
	struct list link;
	json_int_t id;
	supervisor_reply done; /* NULL: nobody waits */
	void *context;
};

void supervisor_rewatch(struct supervisor *supervisor)
{
	bool queued = json_link_queued(supervisor_link(supervisor)) > 0;

	event_source_change(supervisor->worker_source, EPOLLIN | (queued ? EPOLLOUT : 0));
}

/* Takes over message, and gives it an id. */
static int send_request(struct supervisor *supervisor, json_t *message, const int *fds,
			unsigned int count, supervisor_reply done, void *context)
{
	struct request *request = calloc(1, sizeof(*request));
	int r = -ENOMEM;

	if (!supervisor->worker_source)
		r = -EPIPE;
	else if (request &&
		 !json_object_set_new(message, "id", json_integer(supervisor->last_id + 1)))
		r = json_link_send(supervisor_link(supervisor), message, fds, count);
	json_decref(message);
	if (r) {
		free(request);
		return r;
	}
	request->id = ++supervisor->last_id;
	request->done = done;
	request->context = context;
	list_append(&supervisor->requests, &request->link);
	supervisor_rewatch(supervisor);
	return 0;
}

int supervisor_request(struct supervisor *supervisor, json_t *message, const int *fds,
		       unsigned int count, supervisor_reply done, void *context)
{
	return send_request(supervisor, message, fds, count, done, context);
}

int supervisor_ask(struct supervisor *supervisor, const char *name, supervisor_reply done,
		   void *context)
{
	return send_request(supervisor, json_pack("{s:s}", "request", name), NULL, 0, done,
			    context);
}

int supervisor_call_device(struct supervisor *supervisor, const char *device, const char *verb,
			   json_t *parameters, const int *fds, unsigned int count,
			   supervisor_reply done, void *context)
{
	json_t *message =
		json_pack("{s:s, s:s, s:s, s:o, s:i}", "request", PROTOCOL_DEVICE, "device", device,
			  "verb", verb, "parameters", parameters, "descriptors", (int)count);

	return send_request(supervisor, message, fds, count, done, context);
}

static void answer_call(void *context, const json_t *reply, const char *error)
{
	vm_interface_answer(context, reply, error);
}

const char supervisor_is_ending[] = "the VM is ending";

void supervisor_forward_message(struct supervisor *supervisor, struct varlink_call *call,
				json_t *message)
{
	if (send_request(supervisor, message, NULL, 0, answer_call, call))
		vm_interface_answer(call, NULL, supervisor_is_ending);
}

void supervisor_forward(struct supervisor *supervisor, struct varlink_call *call,
			const char *request)
{
	if (supervisor_ask(supervisor, request, answer_call, call))
		vm_interface_answer(call, NULL, supervisor_is_ending);
}

void supervisor_forward_files(struct supervisor *supervisor, struct varlink_call *call,
			      const char *device, const char *verb, json_t *parameters,
			      const int *fds, unsigned int count)
{
	int r = supervisor_call_device(supervisor, device, verb, parameters, fds, count,
				       answer_call, call);

	if (r)
		vm_interface_answer(call, NULL,
				    r == -EBUSY ? "the VM is busy with another such call; try again"
						: supervisor_is_ending);
}

void supervisor_forward_verb(struct supervisor *supervisor, struct varlink_call *call,
			     const char *device, const char *verb, const json_t *parameters)
{
	supervisor_forward_files(supervisor, call, device, verb, json_incref((json_t *)parameters),
				 NULL, 0);
}

static struct request *find_request(struct supervisor *supervisor, json_int_t id)
{
	struct request *request;

	list_for_each(request, &supervisor->requests, link)
	{
		if (request->id == id)
			return request;
	}
	return NULL;
}

void supervisor_take_reply(struct supervisor *supervisor, json_t *message)
{
	struct request *request =
		find_request(supervisor, json_integer_value(json_object_get(message, "id")));
	const char *error = json_string_value(json_object_get(message, "error"));

	if (!request)
		return;
	list_remove(&request->link);
	if (request->done)
		request->done(request->context, json_object_get(message, "reply"),
			      error ? error : "no answer");
	free(request);
}

void supervisor_answer_rest(struct supervisor *supervisor)
{
	struct request *request;

	list_for_each(request, &supervisor->requests, link)
	{
		if (request->done)
			request->done(request->context, NULL, "the VM ended");
		free(request);
	}
	list_init(&supervisor->requests);
}

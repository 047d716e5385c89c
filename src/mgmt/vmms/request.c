#include "mgmt/vmms/request.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/event_loop.h"
#include "base/text.h"
#include "base/varlink.h"
#include "mgmt/vmms/audit.h"
#include "mgmt/vmms/request_gate.h"
#include "mgmt/vmms/settings.h"
#include "mgmt/vmms/vm.h"
#include "mgmt/vmms/vmms.h"

#define INTERFACE   "io.bulkhead.VMMS."
#define SECONDS_MAX (366 * 24 * 3600)

struct vm *request_vm(const struct request *request)
{
	return request->uuid[0] ? vm_table_find_uuid(&request->vmms->table, request->uuid) : NULL;
}

const char *request_text(const struct request *request, const char *key)
{
	return json_string_value(json_object_get(request->parameters, key));
}

int request_seconds(const struct request *request, const char *key, unsigned int otherwise,
		    unsigned int *seconds)
{
	const json_t *given = json_object_get(request->parameters, key);
	json_int_t value = json_integer_value(given);

	if (!given || json_is_null(given)) {
		*seconds = otherwise;
		return 0;
	}
	if (!json_is_integer(given) || value < 1 || value > SECONDS_MAX)
		return -EINVAL;
	*seconds = (unsigned int)value;
	return 0;
}

int request_check_path(const struct request *request, const char *key, struct error *err)
{
	const char *path = request_text(request, key);

	if (!path || path[0] == '/')
		return 0;
	return error_set(err, EINVAL,
			 "%.200s: the daemon does not know your directory; give an absolute path",
			 path);
}

static bool only_reads(const struct request *request)
{
	return request->method->may_only_read &&
	       json_is_true(json_object_get(request->parameters, "read_only"));
}

static enum access_right right_of(const struct request *request)
{
	return only_reads(request) ? ACCESS_CONNECT : request->method->right;
}

bool request_allowed(const struct request *request)
{
	const struct vm *vm = request_vm(request);

	return vm &&
	       !access_check_caller(request->vmms, &request->caller, vm, right_of(request), NULL);
}

static void begin_turn(struct vm *vm, struct request *request)
{
	vm->turn = request;
	request_admit(request, vm);
}

/* The next one's turn begins from the loop, so that no handler runs within another. */
static void next_turn(void *context)
{
	struct vm *vm = context;
	struct request *request;
	struct error err;

	vm->turn_posted = false;
	if (vm->turn || vm->turn_held || list_empty(&vm->turns))
		return;
	request = list_entry(vm->turns.next, struct request, link);
	list_remove(&request->link);
	vm->turn_count--;
	vm->turn = request;
	/* Meanwhile the right to it may have been taken away. */
	if (access_check_caller(vm->vmms, &request->caller, vm, right_of(request), &err))
		request_fail(request, "Denied", NULL, "%s: %s", vm_name(vm), err.text);
	else
		begin_turn(vm, request);
}

void request_next_turn(struct vm *vm)
{
	if (list_empty(&vm->turns) || vm->turn_posted)
		return;
	vm->turn_posted = true;
	if (event_loop_post(vm->vmms->loop, next_turn, vm))
		next_turn(vm);
}

static void end_turn(struct request *request)
{
	struct vm *vm = request_vm(request);

	if (!vm || vm->turn != request)
		return;
	vm->turn = NULL;
	request_next_turn(vm);
}

static void request_free(struct request *request)
{
	caller_free(&request->caller);
	json_decref(request->parameters);
	free(request->error);
	free(request);
}

static void write_record(struct vmms *vmms, struct audit_record *record)
{
	record->stranger = access_check_caller(vmms, record->caller, NULL, ACCESS_ADMINISTER, NULL);
	audit_write(vmms->audit, record);
}

/* What changed something, or was to, leaves a line. */
static void note(const struct request *request, const char *error, const json_t *answer)
{
	const char *dot = error ? strrchr(error, '.') : NULL;
	const json_t *made = json_object_get(answer, "vm");
	const struct vm *vm = request_vm(request);
	struct audit_record record = {
		.caller = &request->caller,
		.method = request->method->name,
		.parameters = request->parameters,
		.vm = vm ? vm_name(vm) : request_text(request, "vm"),
		.uuid = request->uuid[0] ? request->uuid
					 : json_string_value(json_object_get(made, "uuid")),
		.error = dot ? dot + 1 : error,
		.message = json_string_value(json_object_get(answer, "message")),
	};

	if (!record.vm)
		record.vm = json_string_value(
			json_object_get(json_object_get(request->parameters, "settings"), "name"));
	if (request->method->mutates && !only_reads(request))
		write_record(request->vmms, &record);
}

void request_refused(void *context, const struct varlink_call *call, const json_t *parameters,
		     const char *error)
{
	const struct vmms_method *method = varlink_call_data(call);
	struct caller caller;
	struct audit_record record = {
		.caller = &caller,
		.method = method->name,
		.parameters = parameters,
		.vm = json_string_value(json_object_get(parameters, "vm")),
		.error = error,
	};

	if (!method->mutates || caller_of(call, &caller))
		return;
	write_record(context, &record);
	caller_free(&caller);
}

static void send_answer(struct request *request)
{
	if (request->error)
		varlink_fail(request->call, request->error, request->answer);
	else if (request->fd >= 0)
		varlink_reply_fd(request->call, request->answer, request->fd);
	else
		varlink_reply(request->call, request->answer);
	if (request->fd >= 0)
		close(request->fd);
	request_free(request);
}

static void flush(void *context)
{
	request_flush(context);
}

void request_flush(struct vmms *vmms)
{
	while (!list_empty(&vmms->answers)) {
		struct request *request = list_entry(vmms->answers.next, struct request, link);

		list_remove(&request->link);
		send_answer(request);
	}
}

/* Takes over error and answer. */
static void finish(struct request *request, char *error, json_t *answer)
{
	struct vmms *vmms = request->vmms;
	bool first = list_empty(&vmms->answers);

	if (!request->noted)
		note(request, error, answer);
	end_turn(request);
	request->error = error;
	request->answer = answer;
	list_append(&vmms->answers, &request->link);
	if (first && event_loop_post(vmms->loop, flush, vmms))
		request_flush(vmms);
}

void request_reply(struct request *request, json_t *reply)
{
	finish(request, NULL, reply);
}

void request_reply_vm(struct request *request, const struct vm *vm)
{
	request_reply(request, json_pack("{s:o}", "vm", vm_json(vm)));
}

void request_reply_fd(struct request *request, json_t *reply, int fd)
{
	request->fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	request_reply(request, reply);
}

void request_progress(struct request *request, json_t *reply)
{
	/* A console may be open for days. */
	if (request->method->may_only_read && !request->noted) {
		note(request, NULL, NULL);
		request->noted = true;
	}
	if (varlink_call_wants_more(request->call))
		varlink_reply_continues(request->call, reply);
	else
		json_decref(reply);
}

static void fail(struct request *request, const char *error, json_t *more, const char *sentence)
{
	char name[128];

	snprintf(name, sizeof(name), INTERFACE "%s", error);
	if (!more)
		more = json_object();
	json_object_set_new(more, "message", text_json(sentence));
	finish(request, strdup(name), more);
}

#define FORMAT_SENTENCE(text, format)                                                              \
	do {                                                                                       \
		va_list arguments_;                                                                \
		va_start(arguments_, format);                                                      \
		vsnprintf(text, sizeof(text), format, arguments_);                                 \
		va_end(arguments_);                                                                \
		text_trim(text);                                                                   \
	} while (0)

void request_fail(struct request *request, const char *error, json_t *more, const char *format, ...)
{
	char sentence[1024];

	FORMAT_SENTENCE(sentence, format);
	fail(request, error, more, sentence);
}

void request_fail_state(struct request *request, const struct vm *vm, const char *format, ...)
{
	char sentence[1024];

	FORMAT_SENTENCE(sentence, format);
	fail(request, "WrongState", json_pack("{s:s}", "state", vm_state_name(vm->state)),
	     sentence);
}

void request_fail_as(struct request *request, const char *error, json_t *parameters)
{
	finish(request, strdup(error), parameters ? parameters : json_object());
}

void request_forget(struct request *request)
{
	note(request, NULL, NULL);
	request_free(request);
}

void request_fail_turns(struct vm *vm, const char *why)
{
	struct request *request;

	list_for_each(request, &vm->turns, link)
	{
		list_remove(&request->link);
		request_fail(request, "NotFound", NULL, "%s: %s", vm_name(vm), why);
	}
	vm->turn_count = 0;
}

void request_fail_parameter(struct request *request, const char *parameter)
{
	request_fail_as(request, "org.varlink.service.InvalidParameter",
			json_pack("{s:s}", "parameter", parameter));
}

/* The VM that the caller may mean; NULL once it is failed. */
static struct vm *find_vm(struct request *request)
{
	const char *name = request_text(request, "vm");
	struct error err;
	struct vm *vm;

	if (!name) {
		request_fail_parameter(request, "vm");
		return NULL;
	}
	vm = vm_table_find(&request->vmms->table, name);
	/* Who may not see it is told no more than those who ask for what is not there. */
	if (!vm || access_check_caller(request->vmms, &request->caller, vm, ACCESS_CONNECT, &err)) {
		request_fail(
			request, "NotFound", NULL,
			"%.200s: there is no such VM; `bulkhead vm list` shows those there are",
			name);
		return NULL;
	}
	return vm;
}

static void handle_vm(struct request *request)
{
	struct vm *vm = find_vm(request);
	struct error err;

	if (!vm)
		return;
	snprintf(request->uuid, sizeof(request->uuid), "%s", vm_uuid(vm));
	if (access_check_caller(request->vmms, &request->caller, vm, right_of(request), &err)) {
		request_fail(request, "Denied", NULL, "%s: %s", vm_name(vm), err.text);
	} else if (!request->method->turn) {
		request_admit(request, vm);
	} else if (!vm->turn && !vm->turn_held && list_empty(&vm->turns)) {
		begin_turn(vm, request);
	} else if (vm->turn_count < REQUEST_TURNS_MAX) {
		list_append(&vm->turns, &request->link);
		vm->turn_count++;
	} else {
		request_fail(
			request, "Conflict",
			json_pack("{s:I}", "revision", (json_int_t)settings_revision(vm->settings)),
			"%s: too many calls wait to change it; try again later", vm_name(vm));
	}
}

static void handle_host(struct request *request)
{
	struct error err;

	if (access_check_caller(request->vmms, &request->caller, NULL, right_of(request), &err))
		request_fail(request, "Denied", NULL, "%s", err.text);
	else
		request_admit(request, NULL);
}

void request_begin(void *context, struct varlink_call *call, const json_t *parameters)
{
	struct request *request = calloc(1, sizeof(*request));

	if (!request || caller_of(call, &request->caller)) {
		free(request);
		varlink_fail(call, INTERFACE "Failed",
			     json_pack("{s:s}", "message",
				       "the daemon is out of memory, or you have left; free some "
				       "on the host"));
		return;
	}
	list_init(&request->link);
	request->vmms = context;
	request->call = call;
	request->method = varlink_call_data(call);
	request->parameters = json_incref((json_t *)parameters);
	request->fd = -1;
	if (request->method->no_vm)
		handle_host(request);
	else
		handle_vm(request);
}

#include <errno.h>

#include "worker/protocol.h"
#include "worker/saved_vm.h"
#include "worker/worker_internal.h"

bool worker_refuse_while_saving(const struct worker *worker, struct device_call *call)
{
	if (worker->lifecycle.state != LIFECYCLE_SAVING)
		return false;
	call->refuse(call, "it is being saved; start it again, then change it");
	return true;
}

/* As before it was saved. */
static void go_on(struct worker *worker)
{
	saving_free(worker->saving);
	worker->saving = NULL;
	lifecycle_set(&worker->lifecycle,
		      worker->was_running ? LIFECYCLE_RUNNING : LIFECYCLE_PAUSED);
	if (worker->was_running)
		vm_resume(worker->vm);
}

static void on_saved(void *context, const char *error)
{
	struct worker *worker = context;
	struct device_call *call = worker->save_call;

	worker->save_call = NULL;
	if (error)
		go_on(worker);
	if (error)
		call->refuse(call, error);
	else
		call->reply(call, NULL);
}

static int check_save(const struct worker *worker, struct error *err)
{
	if (!lifecycle_may(&worker->lifecycle, LIFECYCLE_SAVING))
		return error_set(err, EBUSY, "it is %s: only a VM that runs or is paused is saved",
				 lifecycle_name(worker->lifecycle.state));
	if (departures_any(worker->departures))
		return error_set(err, EBUSY, "one of its devices is leaving; try again");
	return 0;
}

/* What the guest asked for before it came to rest is done first: it would be lost. */
static int begin_save(struct worker *worker, const struct saved_files *files, struct error *err)
{
	worker->was_running = worker->lifecycle.state == LIFECYCLE_RUNNING;
	lifecycle_set(&worker->lifecycle, LIFECYCLE_SAVING);
	vm_pause(worker->vm);
	worker_handle_events(worker);
	if (worker->lifecycle.state == LIFECYCLE_SAVING)
		return saving_new(worker->loop, worker->vm, files, on_saved, worker,
				  &worker->saving, err);
	saved_files_close(files);
	return error_set(err, EBUSY, "it is ending");
}

void worker_request_save(void *context, const json_t *message, struct device_call *call)
{
	struct worker *worker = context;
	struct saved_files files = {-1, -1};
	struct error err;
	int r;

	json_unpack((json_t *)message, "{s:i, s:i}", "state_fd", &files.state_fd, "memory_fd",
		    &files.memory_fd);
	r = check_save(worker, &err);
	if (r) {
		saved_files_close(&files);
		call->refuse(call, err.text);
		return;
	}
	worker->save_call = call;
	if (!begin_save(worker, &files, &err))
		return;
	if (worker->lifecycle.state == LIFECYCLE_SAVING)
		go_on(worker);
	worker->save_call = NULL;
	call->refuse(call, err.text);
}

void worker_request_end_save(void *context, const json_t *message, struct device_call *call)
{
	struct worker *worker = context;

	if (!worker->saving || worker->save_call) {
		call->refuse(call, "it has not been saved");
		return;
	}
	call->reply(call, NULL);
	if (json_is_true(json_object_get(message, "keep")))
		worker_end(worker, PROTOCOL_END_SAVED, EXIT_POWERED_OFF, "");
	else
		go_on(worker);
}

void worker_abandon_save(struct worker *worker)
{
	if (worker->save_call)
		worker->save_call->refuse(worker->save_call, "the VM is ending");
	saving_free(worker->saving);
}

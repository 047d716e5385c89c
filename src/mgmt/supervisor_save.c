#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mgmt/saved_state.h"
#include "mgmt/supervisor_internal.h"
#include "mgmt/vm_interface.h"

/*
 * A VM is saved in two steps: the worker writes the files and rests, and ends once they count.  So
 * no guest goes on that could be started from them as well.
 */

struct save {
	struct supervisor *supervisor;
	struct varlink_call *call;
	int directory;
	bool begun; /* there are files of ours in it */
	char *made; /* the directory's path, where it was made for this; NULL: it stays */
};

static void save_free(struct save *save)
{
	save->supervisor->saving = false;
	if (save->directory >= 0)
		close(save->directory);
	free(save->made);
	free(save);
}

static void fail(struct save *save, const char *sentence)
{
	if (save->begun)
		saved_state_remove(save->directory, NULL);
	if (save->made)
		rmdir(save->made);
	vm_interface_answer(save->call, NULL, sentence);
	save_free(save);
}

static void end_worker(struct supervisor *supervisor, bool keep)
{
	supervisor_request(supervisor,
			   json_pack("{s:s, s:b}", "request", PROTOCOL_END_SAVE, "keep", keep),
			   NULL, 0, NULL, NULL);
	if (!keep)
		return;
	supervisor->stopping = true;
	supervisor_enter(supervisor, VM_STOPPING, "stopping");
	supervisor_expect_end(supervisor);
}

static void on_written(void *context, const json_t *reply, const char *error)
{
	struct save *save = context;
	json_t *nothing;
	struct error err;
	int r;

	if (!reply) {
		fail(save, error);
		return;
	}
	r = saved_state_keep(save->directory, &err);
	end_worker(save->supervisor, r == 0);
	if (r) {
		fail(save, err.text);
		return;
	}
	nothing = json_object();
	vm_interface_answer(save->call, nothing, NULL);
	json_decref(nothing);
	save_free(save);
}

static int ask_worker(struct save *save, struct error *err)
{
	struct saved_state_files files;
	int r = saved_state_create(save->directory, &files, err);
	int fds[2];

	if (r)
		return r;
	save->begun = true;
	fds[0] = files.state;
	fds[1] = files.memory;
	r = supervisor_request(save->supervisor,
			       json_pack("{s:s, s:i, s:i, s:i}", "request", PROTOCOL_SAVE,
					 "state_fd", 0, "memory_fd", 1, "descriptors", 2),
			       fds, 2, on_written, save);
	saved_state_close(&files);
	return r ? error_set(err, -r, "%s", supervisor_is_ending) : 0;
}

/* Where it is to be saved: where the caller says, or in the place that the daemon gave. */
static int find_place(struct save *save, const char *directory, struct error *err)
{
	int place = save->supervisor->config->saved_directory;
	bool made = false;

	if (!directory && place < 0)
		return error_set(err, EINVAL, "it has no place to be saved in; give a DIRECTORY");
	save->directory = directory ? saved_state_make_directory(directory, &made, err)
				    : fcntl(place, F_DUPFD_CLOEXEC, 0);
	if (save->directory < 0)
		return directory ? save->directory : error_memory(err, "one more descriptor");
	save->made = made ? strdup(directory) : NULL;
	return 0;
}

void save_vm(void *context, struct varlink_call *call, const json_t *parameters)
{
	const json_t *directory = json_object_get(parameters, "directory");
	struct supervisor *supervisor = context;
	struct save *save;
	struct error err;

	if (json_is_string(directory) && json_string_value(directory)[0] != '/') {
		varlink_fail_parameter(call, "directory");
		return;
	}
	save = supervisor->saving ? NULL : calloc(1, sizeof(*save));
	if (!save) {
		vm_interface_answer(call, NULL,
				    supervisor->saving ? "it is being saved already"
						       : "out of memory; free some on the host");
		return;
	}
	*save = (struct save){.supervisor = supervisor, .call = call, .directory = -1};
	supervisor->saving = true;
	if (find_place(save, json_string_value(directory), &err)) {
		vm_interface_answer(call, NULL, err.text);
		save_free(save);
	} else if (ask_worker(save, &err)) {
		fail(save, err.text);
	}
}

void supervisor_restored(struct supervisor *supervisor)
{
	struct error err;

	if (saved_state_remove(supervisor->config->saved_directory, &err)) {
		supervisor_announce(supervisor, "device", err.text);
		supervisor_kill_worker(supervisor, "was ended, for another start would go on from "
						   "the same saved state");
		return;
	}
	supervisor_ask(supervisor, PROTOCOL_RESUME, NULL, NULL);
}

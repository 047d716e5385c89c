#include "mgmt/vmms/vm_end.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "mgmt/exit_record.h"
#include "mgmt/supervisor.h"
#include "mgmt/vmms/autostart.h"
#include "mgmt/vmms/resources.h"
#include "mgmt/vmms/settings.h"
#include "mgmt/vmms/vm.h"
#include "mgmt/vmms/vm_paths.h"
#include "mgmt/vmms/vm_saved.h"
#include "mgmt/vmms/vmms.h"

#define UNRECORDED "its supervisor was killed"

/* How one run ended. */
struct ending {
	json_t *record; /* NULL: nobody wrote one */
	const char *reason;
	bool failed;
	bool started;
	char sentence[1024];
};

static json_t *read_record(const struct vm *vm)
{
	char path[VM_PATH_MAX];
	CLEANUP_CLOSE int fd = -1;
	json_t *record = NULL;

	vm_path_record(vm, path);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0 || exit_record_read(fd, &record))
		return NULL;
	return record;
}

/* The sentence of each end that needs no more than that; the others bring their own. */
static const char *describe(const char *reason)
{
	static const struct {
		const char *reason, *sentence;
	} table[] = {
		{PROTOCOL_END_POWER_OFF, "the guest powered off"},
		{PROTOCOL_END_RESET, "the guest reset, which ends this VM"},
		{PROTOCOL_END_DEBUG_EXIT, "the guest ended the VM"},
		{PROTOCOL_END_STOPPED, "it was turned off"},
		{PROTOCOL_END_SAVED, "it was saved"},
		{PROTOCOL_END_CRASH, "the guest crashed"},
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		if (!strcmp(table[i].reason, reason))
			return table[i].sentence;
	}
	return "it failed";
}

static const char *text_of(const json_t *record, const char *key)
{
	const char *text = json_string_value(json_object_get(record, key));

	return text ? text : "";
}

static void describe_record(struct ending *ending)
{
	const char *message = text_of(ending->record, "message");
	const char *crash = text_of(ending->record, "crash");

	ending->reason = text_of(ending->record, "reason");
	ending->failed = !strcmp(ending->reason, PROTOCOL_END_CRASH) ||
			 !strcmp(ending->reason, PROTOCOL_END_FAILED) ||
			 !strcmp(ending->reason, PROTOCOL_END_USAGE);
	ending->started = !json_is_false(json_object_get(ending->record, "started"));
	snprintf(ending->sentence, sizeof(ending->sentence), "%s%s%s",
		 message[0] ? message : describe(ending->reason), crash[0] ? ": " : "", crash);
	text_trim(ending->sentence);
}

/* Nobody else will: so that the daemon after this one knows, too. */
static void write_record(const struct vm *vm, const struct ending *ending)
{
	struct supervisor_outcome outcome = {.code = EXIT_VMM_ERROR, .started = vm->ran};
	char path[VM_PATH_MAX];
	CLEANUP_CLOSE int fd = -1;

	strcpy(outcome.reason, ending->reason);
	snprintf(outcome.message, sizeof(outcome.message), "%s", ending->sentence);
	vm_path_record(vm, path);
	fd = open(path, O_WRONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd >= 0)
		exit_record_write(fd, &outcome);
}

static void find_ending(const struct vm *vm, const char *killed, struct ending *ending)
{
	memset(ending, 0, sizeof(*ending));
	ending->record = read_record(vm);
	if (ending->record) {
		describe_record(ending);
		return;
	}
	ending->reason = killed ? PROTOCOL_END_STOPPED : PROTOCOL_END_FAILED;
	ending->failed = !killed;
	ending->started = vm->ran;
	snprintf(ending->sentence, sizeof(ending->sentence), "%s", killed ? killed : UNRECORDED);
	write_record(vm, ending);
}

/* The note first: a record is read again as long as that is there. */
static void clear_run(const struct vm *vm)
{
	char path[VM_PATH_MAX];

	vm_path_note(vm, path);
	unlink(path);
	vm_path_worker(vm, path);
	unlink(path);
	vm_path_measure(vm, path);
	unlink(path);
	vm_path_socket(vm, path);
	unlink(path);
	vm_path_directory(vm, path);
	rmdir(path);
}

/* One that never ran did not crash: it could not be started.  However it ended, what was saved of
 * it is what it goes on from. */
static enum vm_state state_after(const struct vm *vm, const struct ending *ending)
{
	if (vm_is_saved(vm))
		return VM_SAVED;
	return ending->failed && ending->started ? VM_OFF_AFTER_CRASH : VM_OFF;
}

void vm_ended(struct vm *vm, const char *killed)
{
	struct ending ending;

	find_ending(vm, killed, &ending);
	clear_run(vm);
	settings_free(vm->launched);
	vm->launched = NULL;
	vm->ran = false;
	vm_event(vm, "end",
		 json_pack("{s:s, s:o, s:o, s:o}", "reason", ending.reason, "code",
			   json_integer(json_integer_value(json_object_get(ending.record, "code"))),
			   "message", text_json(ending.sentence), "crash",
			   text_json(text_of(ending.record, "crash"))));
	vm_set_state(vm, state_after(vm, &ending), ending.sentence);
	json_decref(ending.record);
	resources_end(vm->vmms->resources, vm_uuid(vm));
	autostart_ended(vm, ending.failed && (ending.started || vm->by_itself));
}

void vm_remember_end(struct vm *vm)
{
	struct ending ending = {.record = read_record(vm)};

	if (!ending.record) {
		vm->state = vm_is_saved(vm) ? VM_SAVED : VM_OFF;
		return;
	}
	describe_record(&ending);
	vm->state = state_after(vm, &ending);
	snprintf(vm->reason, sizeof(vm->reason), "%s", ending.sentence);
	vm->since_us = json_integer_value(json_object_get(ending.record, "time"));
	json_decref(ending.record);
}

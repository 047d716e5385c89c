#include "mgmt/vmms/change.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/varlink_peer.h"
#include "mgmt/vmms/change_step.h"
#include "mgmt/vmms/request.h"
#include "mgmt/vmms/run_note.h"
#include "mgmt/vmms/settings_live.h"
#include "mgmt/vmms/store.h"
#include "mgmt/vmms/vm.h"
#include "mgmt/vmms/vm_run.h"
#include "mgmt/vmms/vmms.h"

/*
 * One change under way: it has its VM's turn.
 *
 * The daemon may die at any point of it.  So run.json says that there is a change before the first
 * thing is done, before each step which one it is, and after each what is in force then; only when
 * all is done, the definition with it, is there no change any more.  Of one that the client was not
 * told of the next daemon so finds all that it needs to have the VM follow its definition again.
 */
struct change {
	struct vmms *vmms;
	char uuid[GUID_TEXT_SIZE];
	struct request *request; /* NULL: the daemon goes on with what one before it began */
	const struct change_kind *kind;
	char name[SETTINGS_MEMBER_SIZE];
	struct settings *settings; /* those that it leads to */
	struct settings_steps steps;
	struct settings_step settled; /* first of all, where the daemon before it was in doubt */
	size_t next;
	pid_t supervisor; /* 0: the VM does not run */
	json_t *refused;  /* members whose step failed */
	bool undoing;	  /* what was done: the store could not keep it */
	struct error err;
};

static void change_free(struct change *change)
{
	settings_free(change->settings);
	settings_steps_clear(&change->steps);
	change_step_clear(&change->settled);
	json_decref(change->refused);
	free(change);
}

/* NULL where it was removed meanwhile. */
static struct vm *vm_of(const struct change *change)
{
	return vm_table_find_uuid(&change->vmms->table, change->uuid);
}

/* What the daemon did of itself is over, well or not. */
static void release(struct vm *vm)
{
	if (!vm)
		return;
	vm->turn_held = false;
	request_next_turn(vm);
}

static void fail(struct change *change, const char *error)
{
	struct request *request = change->request;
	struct vm *vm = vm_of(change);
	struct error err = change->err;

	change_free(change);
	if (!request)
		release(vm);
	else
		request_fail(request, error, NULL, "%s: %s", vm ? vm_name(vm) : "the VM", err.text);
}

/* The run that the change began with is the one that is asked. */
static bool still_runs(const struct change *change, const struct vm *vm)
{
	return vm->run && vm->run->pid == change->supervisor && vm->launched;
}

/* The members of a that are not in b. */
static json_t *without(const json_t *a, const json_t *b)
{
	json_t *rest = json_array();
	json_t *item;
	size_t i, j;

	json_array_foreach(a, i, item)
	{
		for (j = 0; j < json_array_size(b); j++) {
			if (json_equal(item, json_array_get(b, j)))
				break;
		}
		if (j == json_array_size(b))
			json_array_append(rest, item);
	}
	return rest;
}

/* For a VM that is taken over by the next daemon: what is in force in it, and what is done to it.
 * Takes over change (NULL: nothing is). */
static int note(struct vm *vm, json_t *change, struct error *err)
{
	int r = vm->run ? run_note_write(vm, vm->run, change, err) : 0;

	json_decref(change);
	return r;
}

static void note_in_force(struct vm *vm, bool changing)
{
	struct error err;

	if (note(vm, changing ? json_object() : NULL, &err))
		vm_event(vm, "unnoted", json_pack("{s:s}", "message", err.text));
}

static void conclude(struct change *change, struct vm *vm)
{
	struct request *request = change->request;
	json_t *applied = without(change->steps.applied, change->refused);
	json_t *waiting = change_waiting(vm);
	json_t *reply = request ? change->kind->reply(vm, change->name, applied, waiting) : NULL;

	note_in_force(vm, false);
	vm_event(vm, "changed",
		 json_pack("{s:i, s:o, s:o}", "revision", (int)settings_revision(vm->settings),
			   "applied", applied, "waiting", waiting));
	change_free(change);
	if (request)
		request_reply(request, reply);
	else
		release(vm);
}

static void begin_undoing(struct change *change, struct vm *vm);

/* The settings, once nothing can refuse them any more. */
static int keep(struct change *change, struct vm *vm)
{
	int r = store_write(vm->vmms->store, change->settings, &change->err);

	if (r)
		return r;
	vm_settings_replace(vm, change->settings);
	change->settings = NULL;
	return 0;
}

static void step_done(struct change *change, struct vm *vm, const struct settings_step *step)
{
	struct settings *in_force;

	if (settings_step_done(vm->launched, step, &in_force, NULL))
		return; /* it will be done again, which harms nothing */
	settings_free(vm->launched);
	vm->launched = in_force;
	note_in_force(vm, true);
}

/* A change of one disk or NIC has only its own steps; what waits for another reason goes on
 * waiting. */
static bool is_meant(const struct change *change, const struct settings_step *step)
{
	return !change->kind->list || (!strcmp(step->list, change->kind->list) &&
				       (!step->name || !strcmp(step->name, change->name)));
}

static void go_on(struct change *change, struct vm *vm);

static void refuse(struct change *change, struct vm *vm, const struct settings_step *step,
		   const char *why)
{
	vm_event(vm, "refused", json_pack("{s:s, s:s}", "member", step->member, "message", why));
	if (change->kind->list && !change->undoing) {
		error_set(&change->err, EIO, "%s", why);
		note_in_force(vm, false);
		fail(change, "Failed");
		return;
	}
	json_array_append_new(change->refused, json_string(step->member));
	go_on(change, vm);
}

static void on_step(void *context, const char *error)
{
	struct change *change = context;
	const struct settings_step *step = &change->steps.list[change->next - 1];
	struct vm *vm = vm_of(change);

	if (!vm || !still_runs(change, vm)) {
		error_set(&change->err, ESRCH, "it ended meanwhile; try again");
		fail(change, "Failed");
	} else if (error) {
		refuse(change, vm, step, error);
	} else {
		step_done(change, vm, step);
		go_on(change, vm);
	}
}

static void finish(struct change *change, struct vm *vm)
{
	if (change->undoing) {
		note_in_force(vm, false);
		fail(change, "Failed");
	} else if (change->kind->list && keep(change, vm)) {
		begin_undoing(change, vm);
	} else {
		conclude(change, vm);
	}
}

static int begin_step(struct change *change, struct vm *vm, const struct settings_step *step,
		      change_step_done done, struct error *err)
{
	int r = note(vm, change_step_note(step), err);

	return r ? r : change_step_begin(vm, step, done, change, err);
}

static void go_on(struct change *change, struct vm *vm)
{
	struct error err;

	while (change->next < change->steps.count) {
		const struct settings_step *step = &change->steps.list[change->next++];

		if (!is_meant(change, step))
			continue;
		if (!settings_step_possible(vm->launched, step))
			refuse(change, vm, step, "what has to come before it was refused");
		else if (begin_step(change, vm, step, on_step, &err))
			refuse(change, vm, step, err.text);
		return;
	}
	finish(change, vm);
}

static int plan(struct change *change, const struct vm *vm, const struct settings *goal)
{
	struct settings_steps steps;
	int r = settings_live(vm->launched, goal, &steps, &change->err);

	if (r)
		return r;
	settings_steps_clear(&change->steps);
	change->steps = steps;
	change->next = 0;
	change->supervisor = vm->run->pid;
	return 0;
}

/* What needs no step is in force from now on. */
static void follow(struct change *change, struct vm *vm)
{
	settings_free(vm->launched);
	vm->launched = settings_ref(change->steps.in_force);
	go_on(change, vm);
}

static void begin_undoing(struct change *change, struct vm *vm)
{
	struct error err = change->err;

	change->undoing = true;
	if (still_runs(change, vm) && !plan(change, vm, vm->settings)) {
		change->err = err;
		follow(change, vm);
	} else {
		change->err = err;
		fail(change, "Failed");
	}
}

/* Whether it does anything to a VM that runs.  One that does nothing needs no note, for which there
 * might be no room. */
static bool has_steps(const struct change *change)
{
	for (size_t i = 0; i < change->steps.count; i++) {
		if (is_meant(change, &change->steps.list[i]))
			return true;
	}
	return false;
}

/* Of a VM that runs. */
static int prepare(struct change *change, struct vm *vm)
{
	int r = plan(change, vm, change->settings);

	return r || !has_steps(change) ? r : note(vm, json_object(), &change->err);
}

static void begin(struct change *change, struct vm *vm)
{
	int r = vm->launched ? prepare(change, vm) : 0;

	if (!r && (!change->kind->list || !vm->launched))
		r = keep(change, vm);
	if (r) {
		if (vm->launched)
			note_in_force(vm, false);
		fail(change, "Failed");
	} else if (vm->launched) {
		follow(change, vm);
	} else {
		conclude(change, vm);
	}
}

static struct change *change_new(struct vm *vm)
{
	struct change *change = calloc(1, sizeof(*change));

	if (!change)
		return NULL;
	change->vmms = vm->vmms;
	snprintf(change->uuid, sizeof(change->uuid), "%s", vm_uuid(vm));
	change->refused = json_array();
	return change;
}

/* Whether it is saved, and would not be what goes on from there. */
static bool is_other_than_saved(const struct vm *vm, const struct settings *settings)
{
	struct settings_steps steps;
	bool differs;

	if (vm->state != VM_SAVED)
		return false;
	if (settings_live(vm->settings, settings, &steps, NULL))
		return true;
	differs = steps.count || json_array_size(steps.waiting);
	settings_steps_clear(&steps);
	return differs;
}

void change_vm(struct request *request, struct vm *vm, struct settings *settings,
	       const struct change_kind *kind, const char *name)
{
	struct change *change;

	if (is_other_than_saved(vm, settings)) {
		settings_free(settings);
		request_fail_state(request, vm,
				   "%s: it is saved, and goes on as what it was; start it, or "
				   "discard its saved state (`bulkhead vm discard`)",
				   vm_name(vm));
		return;
	}
	change = change_new(vm);
	if (!change) {
		settings_free(settings);
		request_fail(request, "Failed", NULL,
			     "there is not enough memory for the change; free some on the host");
		return;
	}
	change->request = request;
	change->kind = kind;
	change->settings = settings;
	snprintf(change->name, sizeof(change->name), "%s", name);
	begin(change, vm);
}

/* Its definition is what counts, whatever the change was to be. */
static void follow_definition(struct change *change, struct vm *vm)
{
	if (plan(change, vm, vm->settings))
		fail(change, "Failed");
	else
		follow(change, vm);
}

static void on_settled(void *context, const char *error)
{
	struct change *change = context;
	struct vm *vm = vm_of(change);

	if (!vm || !still_runs(change, vm)) {
		fail(change, "Failed");
		return;
	}
	/* What cannot be taken away is not there. */
	step_done(change, vm, &change->settled);
	follow_definition(change, vm);
}

void change_resume(struct vm *vm, const json_t *note)
{
	static const struct change_kind kind = {.list = NULL};
	struct change *change = change_new(vm);
	struct error err;

	if (!change) {
		release(vm);
		return;
	}
	change->kind = &kind;
	change->supervisor = vm->run->pid;
	if (change_step_settle(note, &change->settled))
		follow_definition(change, vm);
	else if (change_step_begin(vm, &change->settled, on_settled, change, &err))
		on_settled(change, err.text);
}

json_t *change_waiting(const struct vm *vm)
{
	struct settings_steps steps;
	json_t *waiting;

	if (!vm->launched || settings_live(vm->launched, vm->settings, &steps, NULL))
		return json_array();
	waiting = json_copy(steps.waiting);
	for (size_t i = 0; i < steps.count; i++)
		json_array_append_new(waiting, json_string(steps.list[i].member));
	settings_steps_clear(&steps);
	return waiting;
}

bool change_waits(const struct vm *vm)
{
	json_t *waiting = change_waiting(vm);
	bool waits = json_array_size(waiting) > 0;

	json_decref(waiting);
	return waits;
}

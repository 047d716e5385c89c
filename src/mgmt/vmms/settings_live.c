#include "mgmt/vmms/settings_live.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "mgmt/memory_options.h"
#include "mgmt/vmms/settings_arguments.h"
#include "mgmt/vmms/settings_live_internal.h"

/* What makes no difference to a guest, and holds at once. */
static const char *const own[] = {"name",	 "notes",    "owner", "start_action",
				  "stop_action", "on_crash", "access"};
/* What a guest finds at its start, or never. */
static const char *const fixed[] = {"processors", "boot",	 "console", "display",
				    "hvsock",	  "integration", "on_reset"};

static bool same(const json_t *a, const json_t *b)
{
	return a == b || (a && b && json_equal(a, b));
}

static bool same_member(const json_t *a, const json_t *b, const char *member)
{
	return same(json_object_get(a, member), json_object_get(b, member));
}

/* A list of names, each once. */
void live_note(struct comparison *comparison, json_t *list, const char *member)
{
	json_t *name = json_string(member);

	for (size_t i = 0; i < json_array_size(list); i++) {
		if (same(json_array_get(list, i), name)) {
			json_decref(name);
			return;
		}
	}
	comparison->failed |= json_array_append_new(list, name) != 0;
}

void live_note_item(struct comparison *comparison, json_t *names, const char *list,
		    const json_t *item)
{
	char member[SETTINGS_MEMBER_SIZE];

	snprintf(member, sizeof(member), "%s.%s", list,
		 json_string_value(json_object_get(item, "name")));
	live_note(comparison, names, member);
}

void live_wait(struct comparison *comparison, const char *list, const json_t *item)
{
	live_note_item(comparison, comparison->steps->waiting, list, item);
}

/* item: of the list, the old one where value is NULL.  Takes over parameters. */
void live_add_step(struct comparison *comparison, const char *method, json_t *parameters,
		   const char *list, const json_t *item, const json_t *value)
{
	struct settings_steps *steps = comparison->steps;
	struct settings_step *more =
		reallocarray(steps->list, steps->count + 1, sizeof(*steps->list));
	struct settings_step *step;

	if (!more) {
		json_decref(parameters);
		comparison->failed = true;
		return;
	}
	steps->list = more;
	step = &more[steps->count++];
	*step = (struct settings_step){.method = method, .parameters = parameters, .list = list};
	step->value = value ? json_deep_copy(value) : NULL;
	comparison->failed |= value && !step->value;
	snprintf(step->member, sizeof(step->member), "%s%s%s", list, item ? "." : "",
		 item ? json_string_value(json_object_get(item, "name")) : "");
	if (item)
		live_note_item(comparison, steps->applied, list, item);
	else
		live_note(comparison, steps->applied, list);
}

static const json_t *find(const json_t *list, const char *member, const json_t *value)
{
	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *item = json_array_get(list, i);

		if (same(json_object_get(item, member), value))
			return item;
	}
	return NULL;
}

/* Whether all but these members are the same. */
bool live_same_but(const json_t *a, const json_t *b, const char *const *but, size_t count)
{
	json_auto_t *first = json_copy((json_t *)a);
	json_auto_t *second = json_copy((json_t *)b);

	for (size_t i = 0; i < count; i++) {
		json_object_del(first, but[i]);
		json_object_del(second, but[i]);
	}
	return first && second && json_equal(first, second);
}

/* Whether both have the identity, and it is the same: a LUN is one of a controller. */
static bool same_identity(const json_t *a, const json_t *b, const char *identity)
{
	return json_object_get(a, identity) && same_member(a, b, identity) &&
	       same_member(a, b, "controller");
}

const json_t *live_find(const json_t *list, const json_t *item, const char *identity)
{
	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *other = json_array_get(list, i);

		if (same_identity(other, item, identity))
			return other;
	}
	return NULL;
}

/*
 * The item in the other list that is the same one: by its name, or else, where it only has another
 * name now, by what cannot be in a VM twice.
 */
const json_t *live_counterpart(const json_t *others, const json_t *item, const json_t *siblings,
			       const char *identity)
{
	static const char *const names[] = {"name", "attached_by"};
	const json_t *other = find(others, "name", json_object_get(item, "name"));

	if (other)
		return other;
	other = live_find(others, item, identity);
	if (!other || find(siblings, "name", json_object_get(other, "name")) ||
	    !live_same_but(item, other, names, ARRAY_LENGTH(names)))
		return NULL;
	return other;
}

bool live_is_kind(const json_t *item, const char *kind)
{
	return !strcmp(json_string_value(json_object_get(item, "kind")), kind);
}

json_t *live_number(const json_t *item, const char *member)
{
	json_t *value = json_object_get(item, member);

	return value ? json_incref(value) : json_integer(0);
}

/* On PCI, which is as it was at the start. */
static bool is_legacy(const json_t *nic)
{
	return json_is_true(json_object_get(nic, "legacy"));
}

static void detach_nic(struct comparison *comparison, const json_t *nic)
{
	if (is_legacy(nic)) {
		live_wait(comparison, "nics", nic);
		return;
	}
	live_add_step(comparison, "DetachNic",
		      json_pack("{s:O}", "nic", json_object_get(nic, "mac")), "nics", nic, NULL);
}

static void attach_nic(struct comparison *comparison, const json_t *nic)
{
	CLEANUP_FREE char *spec = NULL;
	json_t *parameters = NULL;

	if (is_legacy(nic)) {
		live_wait(comparison, "nics", nic);
		return;
	}
	if (!live_is_kind(nic, "switch")) {
		spec = settings_nic_spec(nic, NULL, 0);
		parameters = spec ? json_pack("{s:s}", "spec", spec) : NULL;
		comparison->failed |= !parameters;
	}
	live_add_step(comparison, "AttachNic", parameters, "nics", nic, nic);
}

static void change_nic(struct comparison *comparison, const json_t *old, const json_t *new)
{
	static const char *const labels[] = {"name", "attached_by"};
	static const char *const rate[] = {"name", "attached_by", "bandwidth"};

	if (json_equal(old, new))
		return;
	if (live_same_but(old, new, labels, ARRAY_LENGTH(labels))) {
		live_note_item(comparison, comparison->steps->applied, "nics", new);
	} else if (live_same_but(old, new, rate, ARRAY_LENGTH(rate))) {
		live_add_step(comparison, "SetNic",
			      json_pack("{s:O, s:o}", "nic", json_object_get(new, "mac"),
					"bandwidth", live_number(new, "bandwidth")),
			      "nics", new, new);
	} else if (is_legacy(old)) {
		live_wait(comparison, "nics", new);
	} else {
		attach_nic(comparison, new);
	}
}

/* A NIC that is joined to something else is pulled out, and another one plugged in. */
static bool is_replaced(const json_t *old, const json_t *new)
{
	static const char *const rate[] = {"name", "attached_by", "bandwidth"};

	return !live_same_but(old, new, rate, ARRAY_LENGTH(rate));
}

static void compare_nics(struct comparison *comparison)
{
	const json_t *old = settings_nics(comparison->old);
	const json_t *new = settings_nics(comparison->new);

	for (size_t i = 0; i < json_array_size(old); i++) {
		const json_t *nic = json_array_get(old, i);
		const json_t *after = live_counterpart(new, nic, old, "mac");

		if (!after || is_replaced(nic, after))
			detach_nic(comparison, nic);
	}
	for (size_t i = 0; i < json_array_size(new); i++) {
		const json_t *nic = json_array_get(new, i);
		const json_t *before = live_counterpart(old, nic, new, "mac");

		if (before)
			change_nic(comparison, before, nic);
		else
			attach_nic(comparison, nic);
	}
}

static json_int_t number(const json_t *object, const char *member, json_int_t otherwise)
{
	const json_t *value = json_object_get(object, member);

	return value ? json_integer_value(value) : otherwise;
}

static bool is_dynamic(const json_t *memory)
{
	return json_object_get(memory, "minimum") || json_object_get(memory, "maximum");
}

/* What of memory the VM has once it was set: those members of new, the others of value. */
static json_t *with_members(const json_t *value, const json_t *new, const char *const *members)
{
	json_t *with = json_copy((json_t *)value);

	for (; with && *members; members++) {
		json_t *wanted = json_object_get(new, *members);

		if (wanted)
			json_object_set(with, *members, wanted);
		else
			json_object_del(with, *members);
	}
	return with;
}

/* Limits that the VM cannot have while it runs are refused by it, and wait; hence two steps. */
static void compare_memory(struct comparison *comparison)
{
	static const char *const soft[] = {"buffer", "weight", NULL};
	static const char *const limits[] = {"minimum", "maximum", NULL};
	const json_t *old = settings_get(comparison->old, "memory");
	const json_t *new = settings_get(comparison->new, "memory");
	json_int_t startup = number(new, "startup", 0);
	json_auto_t *balanced = NULL, *limited = NULL;

	if (json_equal(old, new))
		return;
	if (!same_member(old, new, "startup") || is_dynamic(old) != is_dynamic(new))
		live_note(comparison, comparison->steps->waiting, "memory");
	if (!is_dynamic(old))
		return;
	balanced = with_members(old, new, soft);
	limited = with_members(balanced, new, limits);
	if (!balanced || !limited) {
		comparison->failed = true;
		return;
	}
	if (!json_equal(balanced, old))
		live_add_step(comparison, "SetMemory",
			      json_pack("{s:I, s:I}", "buffer",
					number(new, "buffer", MEMORY_BUFFER_DEFAULT), "weight",
					number(new, "weight", MEMORY_WEIGHT_DEFAULT)),
			      "memory", NULL, balanced);
	if (!is_dynamic(new) || !same_member(old, new, "startup"))
		return;
	if (!json_equal(limited, balanced))
		live_add_step(comparison, "SetMemory",
			      json_pack("{s:I, s:I}", "minimum", number(new, "minimum", startup),
					"maximum", number(new, "maximum", startup)),
			      "memory", NULL, limited);
}

/* A limit below what the guest has now would kill it. */
static void compare_resources(struct comparison *comparison)
{
	const json_t *resources = settings_get(comparison->new, "resources");
	uint64_t limit = settings_resources(comparison->new)->memory_max;

	if (same(settings_get(comparison->old, "resources"), resources))
		return;
	if (limit && limit < settings_memory_maximum(comparison->old))
		live_note(comparison, comparison->steps->waiting, "resources");
	else
		live_add_step(comparison, NULL, NULL, "resources", NULL, resources);
}

/* Items that only have another name. */
static int rename_items(json_t *whole, const struct settings *new, const char *list,
			const char *identity)
{
	static const char *const labels[] = {"name", "attached_by"};
	json_t *old_items = json_object_get(whole, list);
	const json_t *items = settings_get(new, list);
	json_auto_t *before = json_deep_copy(old_items);
	int r = before ? 0 : -1;

	for (size_t i = 0; !r && i < json_array_size(before); i++) {
		const json_t *item = json_array_get(before, i);
		const json_t *after = live_counterpart(items, item, before, identity);

		if (after && live_same_but(item, after, labels, ARRAY_LENGTH(labels)))
			r = json_array_set(old_items, i, (json_t *)after);
	}
	return r;
}

/* in_force with all of the new that needs no step. */
static int take_own(const struct settings *in_force, const struct settings *new,
		    struct settings **out, struct error *err)
{
	json_auto_t *whole = settings_json(in_force);
	int r = whole ? 0 : -1;

	for (size_t i = 0; !r && i < ARRAY_LENGTH(own); i++) {
		const json_t *value = settings_get(new, own[i]);

		if (value)
			r = json_object_set(whole, own[i], (json_t *)value);
		else
			json_object_del(whole, own[i]);
	}
	if (!r)
		r = rename_items(whole, new, "disks", "lun");
	if (!r)
		r = rename_items(whole, new, "nics", "mac");
	return r ? error_memory(err, "the change") : settings_parse(whole, out, err);
}

static void compare_members(struct comparison *comparison, const char *const *members, size_t count,
			    json_t *list)
{
	for (size_t i = 0; i < count; i++) {
		if (!same(settings_get(comparison->old, members[i]),
			  settings_get(comparison->new, members[i])))
			live_note(comparison, list, members[i]);
	}
}

int settings_live(const struct settings *in_force, const struct settings *new,
		  struct settings_steps *steps, struct error *err)
{
	struct settings_steps found = {.applied = json_array(), .waiting = json_array()};
	struct comparison comparison = {in_force, new, &found, !found.applied || !found.waiting};
	int r;

	compare_members(&comparison, own, ARRAY_LENGTH(own), found.applied);
	compare_members(&comparison, fixed, ARRAY_LENGTH(fixed), found.waiting);
	compare_memory(&comparison);
	live_compare_disks(&comparison);
	compare_nics(&comparison);
	compare_resources(&comparison);
	r = comparison.failed ? error_memory(err, "the change")
			      : take_own(in_force, new, &found.in_force, err);
	if (r) {
		settings_steps_clear(&found);
		return r;
	}
	for (size_t i = 0; i < found.count; i++) {
		char *dot = strchr(found.list[i].member, '.');

		found.list[i].name = dot ? dot + 1 : NULL;
	}
	*steps = found;
	return 0;
}

void settings_steps_clear(struct settings_steps *steps)
{
	for (size_t i = 0; i < steps->count; i++) {
		json_decref(steps->list[i].parameters);
		json_decref(steps->list[i].value);
	}
	free(steps->list);
	json_decref(steps->applied);
	json_decref(steps->waiting);
	settings_free(steps->in_force);
	*steps = (struct settings_steps){.list = NULL};
}

static int put_item(json_t *list, const char *name, json_t *value)
{
	for (size_t i = 0; i < json_array_size(list); i++) {
		json_t *item = json_array_get(list, i);

		if (strcmp(json_string_value(json_object_get(item, "name")), name) != 0)
			continue;
		return value ? json_array_set(list, i, value) : json_array_remove(list, i);
	}
	return value ? json_array_append(list, value) : 0;
}

int settings_step_done(const struct settings *in_force, const struct settings_step *step,
		       struct settings **out, struct error *err)
{
	json_auto_t *whole = settings_json(in_force);
	int r;

	if (!whole)
		return error_memory(err, "the settings");
	if (step->name)
		r = put_item(json_object_get(whole, step->list), step->name, step->value);
	else
		r = json_object_set(whole, step->list, step->value);
	return r ? error_memory(err, "the settings") : settings_parse(whole, out, err);
}

#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"

/*
 * What a VM is to be: the type Settings of io.bulkhead.VMMS, checked, with every default filled in,
 * and never changed once it is made.  One thread at a time may use settings that share references.
 */

#define SETTINGS_VERSION     1
#define SETTINGS_MEMBER_SIZE 128

struct settings;

/*
 * Checks a definition.  Members that are missing or null get their defaults: a UUID is made, disks
 * and NICs are named and numbered, MAC addresses follow from the UUID.  json may be anything and is
 * not kept.  -EINVAL with a sentence that begins with the wrong member's path and a colon
 * ("disks[1].path: ..."); -ENOMEM.
 */
int settings_parse(const json_t *json, struct settings **out, struct error *err);

/*
 * The path of the member that such a sentence is about, for the error BadSettings; empty where it
 * is about none.
 */
void settings_member(const struct error *err, char member[SETTINGS_MEMBER_SIZE]);

/* One more owner of the same settings; each calls settings_free. */
struct settings *settings_ref(struct settings *settings);
/* NULL is allowed. */
void settings_free(struct settings *settings);

/*
 * The settings that come of a change: an object like Settings with only the members that change
 * (RFC 7396), in which null means the default; a list is replaced whole.  The revision is one
 * higher, unless nothing is different.  version, uuid, revision and generation cannot be changed.
 * Errors as those of settings_parse.
 */
int settings_change(const struct settings *old, const json_t *change, struct settings **out,
		    struct error *err);

/*
 * Notes who may answer for what a VM is given: each disk and NIC that settings has and old (NULL:
 * none) has not, or has otherwise, is attached_by uid; the others keep who old says.  What the
 * definition itself said is not heeded.  -ENOMEM.
 */
int settings_attach(const struct settings *old, const struct settings *settings, uid_t uid,
		    struct settings **out, struct error *err);

/* Whether both say the same, revision apart. */
bool settings_equal(const struct settings *a, const struct settings *b);

/* All of it, as it lies in the store and goes to clients: a new object; NULL: no memory. */
json_t *settings_json(const struct settings *settings);

/* These point into settings. */
const char *settings_name(const struct settings *settings);
const char *settings_uuid(const struct settings *settings);
unsigned int settings_revision(const struct settings *settings);
unsigned int settings_processors(const struct settings *settings);
/* Bytes that the guest begins with, and may come to have. */
uint64_t settings_memory(const struct settings *settings);
uint64_t settings_memory_maximum(const struct settings *settings);

/* How many synthetic storage controllers it has: at least one. */
unsigned int settings_controllers(const struct settings *settings);
/* The number of that which a disk or drive of it is on. */
unsigned int settings_disk_controller(const json_t *disk);
bool settings_has_disk_on(const struct settings *settings, unsigned int controller);
/*
 * Gives a disk of a VM that has these the first LUN that is free.  Those without one are on the IDE
 * controller of a Generation 1 VM.  -ENOMEM.
 */
int settings_give_lun(const json_t *disks, json_t *disk);

struct settings_owner {
	uid_t uid;
	gid_t gid;
};
const struct settings_owner *settings_owner(const struct settings *settings);

enum settings_start {
	SETTINGS_START_NOTHING,
	SETTINGS_START_IF_RAN,
	SETTINGS_START_ALWAYS,
};

enum settings_stop {
	SETTINGS_STOP_SHUT_DOWN,
	SETTINGS_STOP_TURN_OFF,
	SETTINGS_STOP_SAVE,
};

/* What the daemon does of itself. */
struct settings_policy {
	enum settings_start start;
	unsigned int start_delay; /* seconds */
	enum settings_stop stop;
	bool restart_on_crash;
	unsigned int crash_delay; /* seconds, before the first restart */
	unsigned int crash_limit; /* restarts in an hour */
};
const struct settings_policy *settings_policy(const struct settings *settings);

/* 0: not set, except in memory_max, where no limit is 0 too. */
struct settings_resources {
	unsigned int cpu_weight;
	unsigned int cpu_cap;	  /* percent of one processor */
	unsigned int cpu_reserve; /* the same */
	uint64_t memory_max;	  /* bytes */
	unsigned int io_weight;
};
const struct settings_resources *settings_resources(const struct settings *settings);

/* The lists, as the interface has them: objects with all members that have a default.  Borrowed,
 * and not to be changed. */
const json_t *settings_disks(const struct settings *settings);
const json_t *settings_nics(const struct settings *settings);
const json_t *settings_access(const struct settings *settings);
/* Any member of the whole, by its name at the top; NULL: not set.  Borrowed. */
const json_t *settings_get(const struct settings *settings, const char *member);

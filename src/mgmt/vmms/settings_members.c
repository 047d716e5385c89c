#include "mgmt/vmms/settings_members.h"

#include <string.h>
#include <sys/un.h>

#include "base/guid.h"
#include "mgmt/controller.h"
#include "mgmt/display_options.h"
#include "mgmt/generation1.h"
#include "mgmt/memory_options.h"
#include "mgmt/nic_options.h"
#include "mgmt/rate_options.h"
#include "mgmt/run_options.h"
#include "mgmt/vmms/settings.h"

#define UID_MAX	    4294967294ll /* the last one is none */
#define DAY_SECONDS 86400
#define PERCENT_MAX (100 * 4096) /* of one processor, on the largest of hosts */
#define WEIGHT_MAX  10000
#define TEXT_MAX    255
#define LABEL	    "a name of letters, digits, '.', '_' and '-', the first a letter or digit"
#define FILE_PATH   "the absolute path of a file"

static bool is_path(const char *text)
{
	return text[0] == '/' && text[1];
}

static bool is_image(const char *text)
{
	return is_path(text) || run_disk_is_remote(text);
}

/* A front's socket has the port of each guest's listener behind its name. */
static bool is_socket(const char *text)
{
	return is_path(text) &&
	       strlen(text) + sizeof("_4294967295") <= sizeof(((struct sockaddr_un *)0)->sun_path);
}

static bool is_uuid(const char *text)
{
	struct guid guid;

	return !guid_parse(text, &guid) && !guid_equal(&guid, &(struct guid){{0}});
}

static bool is_vm_name(const char *text)
{
	struct guid guid;

	return run_name_valid(text) && guid_parse(text, &guid);
}

static bool is_vnc(const char *text)
{
	struct run_display display = {.wanted = false};

	return !display_options_vnc(text, &display, NULL) &&
	       (!display.vnc_path || is_path(display.vnc_path));
}

static bool is_controller(const char *text)
{
	return controller_number(text) >= 0;
}

static bool is_order(const char *text)
{
	return !generation1_check_order(text, NULL);
}

static bool is_mac(const char *text)
{
	struct run_nic nic;
	char option[64];
	bool fits =
		(size_t)snprintf(option, sizeof(option), "user,mac=%s", text) < sizeof(option) &&
		!strchr(text, ',') && !nic_options_parse(option, &nic, NULL);

	if (fits)
		nic_options_clear(&nic);
	return fits;
}

static bool is_interface(const char *text)
{
	struct run_nic nic;
	char option[64];
	bool fits = (size_t)snprintf(option, sizeof(option), "tap=%s", text) < sizeof(option) &&
		    !strchr(text, ',') && !nic_options_parse(option, &nic, NULL);

	if (fits)
		nic_options_clear(&nic);
	return fits;
}

/* As the host's own tools take users and groups. */
static bool is_account(const char *text)
{
	return text[0] != '-' && !strpbrk(text, ":/, \t\n");
}

static const char *const versions[] = {"2.4", "3.0", "4.0", "4.1", "5.0",
				       "5.1", "5.2", "5.3", NULL};
static const char *const formats[] = {"raw", "vhd", "vhdx", NULL};
static const char *const disk_kinds[] = {"disk", "cdrom", "seed", "floppy", NULL};
static const char *const nic_kinds[] = {"switch", "user", "tap", "stream", NULL};
static const char *const console_kinds[] = {"ring", "none", NULL};
static const char *const start_kinds[] = {"nothing", "if_ran", "always", NULL};
static const char *const stop_kinds[] = {"shut_down", "turn_off", "save", NULL};
static const char *const reset_kinds[] = {"restart", "stop", NULL};
static const char *const rights[] = {"connect", "operate", "administer", NULL};

#define BOOLEAN_OR(value) .kind = SCHEMA_BOOLEAN, .has_fallback = true, .fallback = (value)
#define BOOLEAN		  .kind = SCHEMA_BOOLEAN
#define INTEGER(low, high, what)                                                                   \
	.kind = SCHEMA_INTEGER, .min = (json_int_t)(low), .max = (json_int_t)(high),               \
	.remedy = (what)
#define INTEGER_OR(low, high, what, value)                                                         \
	INTEGER(low, high, what), .has_fallback = true, .fallback = (value)
#define TEXT(bytes, what, looks)                                                                   \
	.kind = SCHEMA_TEXT, .min = 1, .max = (bytes), .remedy = (what), .check = (looks)
#define CHOICE(words, what) .kind = SCHEMA_CHOICE, .choices = (words), .remedy = (what)
#define BYTES(what)                                                                                \
	INTEGER(PROTOCOL_MEMORY_MIN, PROTOCOL_MEMORY_MAX, what), .multiple = PROTOCOL_MEMORY_ALIGN
#define USER INTEGER(0, UID_MAX, "a user's id")

static const struct schema_member owner[] = {
	{"uid", .required = true, USER},
	{"gid", .required = true, INTEGER(0, UID_MAX, "a group's id")},
	{NULL},
};

static const struct schema_member processors[] = {
	{"count", .required = true, INTEGER(1, PROTOCOL_CPUS_MAX, "how many virtual processors")},
	{NULL},
};

static const struct schema_member memory[] = {
	{"startup", .required = true, BYTES("the bytes that the guest begins with")},
	{"minimum", BYTES("the bytes that it keeps at least")},
	{"maximum", BYTES("the bytes that it may come to have")},
	{"buffer", INTEGER(MEMORY_BUFFER_MIN, MEMORY_BUFFER_MAX, "a percentage")},
	{"weight", INTEGER(0, MEMORY_WEIGHT_MAX, "a weight")},
	{NULL},
};

static const struct schema_member boot[] = {
	{"kernel", TEXT(SETTINGS_FILE_PATH_MAX, FILE_PATH, is_path)},
	{"initrd", TEXT(SETTINGS_FILE_PATH_MAX, FILE_PATH, is_path)},
	{"command_line", .kind = SCHEMA_TEXT, .max = SETTINGS_APPEND_MAX,
	 .remedy = "the kernel's command line"},
	{"vmbus_max_version", CHOICE(versions, "one of 2.4, 3.0, 4.0, 4.1, 5.0, 5.1, 5.2 and 5.3")},
	{"stimer", BOOLEAN_OR(false)},
	{"device_tree", BOOLEAN_OR(false)},
	{"order",
	 TEXT(TEXT_MAX, "disk, cd, floppy and network, each once at most, like cd,disk", is_order)},
	{"menu", INTEGER(1, RUN_BOOT_MENU_MAX, "seconds")},
	{"firmware", TEXT(SETTINGS_FILE_PATH_MAX, FILE_PATH, is_path)},
	{"firmware_log", TEXT(SETTINGS_FILE_PATH_MAX, FILE_PATH, is_path)},
	{NULL},
};

static const struct schema_member disk[] = {
	{"name", TEXT(SETTINGS_LABEL_MAX, LABEL, run_name_valid)},
	{"kind", .required = true, CHOICE(disk_kinds, "disk, cdrom, seed or floppy")},
	{"path",
	 TEXT(SETTINGS_FILE_PATH_MAX, "an absolute path, or for a disk an nbd:// URI", is_image)},
	{"read_only", BOOLEAN},
	{"direct", BOOLEAN},
	{"format", CHOICE(formats, "raw, vhd or vhdx")},
	{"lun", INTEGER(0, PROTOCOL_DISKS_MAX - 1, "its LUN")},
	{"controller", TEXT(CONTROLLER_ID_SIZE - 1, "scsi, or scsi1 to scsi7", is_controller)},
	{"iops", INTEGER(1, LIMIT_MAX, "operations a second")},
	{"bandwidth", INTEGER(LIMIT_BYTES_MIN, LIMIT_MAX, "bytes a second")},
	{"timeout", INTEGER(1, RUN_DISK_TIMEOUT_MAX, "seconds")},
	{"attached_by", USER},
	{NULL},
};

static const struct schema_member nic[] = {
	{"name", TEXT(SETTINGS_LABEL_MAX, LABEL, run_name_valid)},
	{"kind", .required = true, CHOICE(nic_kinds, "switch, user, tap or stream")},
	{"switch", TEXT(SETTINGS_LABEL_MAX, LABEL, run_name_valid)},
	{"interface", TEXT(TEXT_MAX, "the name of a tap, 1 to 15 characters", is_interface)},
	{"path", TEXT(SETTINGS_FILE_PATH_MAX, "the absolute path of a socket", is_path)},
	{"mac", TEXT(TEXT_MAX, "six bytes like 00:15:5d:01:02:03, the first of them even", is_mac)},
	{"queues", INTEGER(1, NIC_QUEUES_MAX, "a number of queues")},
	{"legacy", BOOLEAN},
	{"bandwidth", INTEGER(LIMIT_BITS_MIN, LIMIT_MAX, "bits a second")},
	{"attached_by", USER},
	{NULL},
};

static const struct schema_member console[] = {
	{"kind", CHOICE(console_kinds, "ring or none"), .otherwise = "ring"},
	{NULL},
};

static const struct schema_member display[] = {
	{"width", INTEGER(DISPLAY_WIDTH_MIN, DISPLAY_WIDTH_MAX, "pixels")},
	{"height", INTEGER(DISPLAY_HEIGHT_MIN, DISPLAY_HEIGHT_MAX, "pixels")},
	{"vnc",
	 TEXT(SETTINGS_FILE_PATH_MAX, "unix:PATH, the path absolute, or 127.0.0.1:PORT", is_vnc)},
	{NULL},
};

static const struct schema_member hvsock[] = {
	{"path", .required = true,
	 TEXT(SETTINGS_FILE_PATH_MAX, "the absolute path of a socket, 96 bytes at most",
	      is_socket)},
	{NULL},
};

static const struct schema_member integration[] = {
	{"shutdown", BOOLEAN_OR(true)},
	{"time", BOOLEAN_OR(true)},
	{"heartbeat", BOOLEAN_OR(true)},
	{"kvp", BOOLEAN_OR(true)},
	{"vss", BOOLEAN_OR(true)},
	{"copy", BOOLEAN_OR(true)},
	{NULL},
};

static const struct schema_member start_action[] = {
	{"kind", CHOICE(start_kinds, "nothing, if_ran or always"), .otherwise = "nothing"},
	{"delay", INTEGER_OR(0, DAY_SECONDS, "seconds", 0)},
	{NULL},
};

static const struct schema_member on_crash[] = {
	{"restart", BOOLEAN_OR(false)},
	{"delay", INTEGER_OR(0, DAY_SECONDS, "seconds", 5)},
	{"limit", INTEGER_OR(1, 1000, "how many restarts in an hour", 5)},
	{NULL},
};

static const struct schema_member resources[] = {
	{"cpu_weight", INTEGER(1, WEIGHT_MAX, "a weight")},
	{"cpu_cap", INTEGER(1, PERCENT_MAX, "percent of one processor")},
	{"cpu_reserve", INTEGER(0, PERCENT_MAX, "percent of one processor")},
	{"memory_max", INTEGER(PROTOCOL_MEMORY_MIN, LIMIT_MAX, "bytes")},
	{"io_weight", INTEGER(1, WEIGHT_MAX, "a weight")},
	{NULL},
};

static const struct schema_member access_entry[] = {
	{"user", TEXT(TEXT_MAX, "a user's name or number", is_account)},
	{"group", TEXT(TEXT_MAX, "a group's name or number", is_account)},
	{"right", .required = true, CHOICE(rights, "connect, operate or administer")},
	{NULL},
};

#define OBJECT(table) .kind = SCHEMA_OBJECT, .members = (table), .remedy = "it as an object"
#define LIST(table, count, what)                                                                   \
	.kind = SCHEMA_LIST, .members = (table), .max = (count), .remedy = (what), .always = true

const struct schema_member settings_members[] = {
	{"version", .required = true, INTEGER(SETTINGS_VERSION, SETTINGS_VERSION, "the version")},
	{"uuid", TEXT(TEXT_MAX, "a UUID like 6e0c6d8e-8d0b-4a61-9d35-0d6f3f0ad5f1", is_uuid)},
	{"name", .required = true,
	 TEXT(RUN_NAME_SIZE - 1, LABEL " that does not look like a UUID", is_vm_name)},
	{"notes", .kind = SCHEMA_TEXT, .max = SETTINGS_NOTES_MAX, .remedy = "notes"},
	{"owner", OBJECT(owner)},
	{"revision", INTEGER_OR(1, INT32_MAX, "the revision", 1)},
	{"generation", INTEGER_OR(1, 2, "the generation", 2)},
	{"processors", .required = true, OBJECT(processors)},
	{"memory", .required = true, OBJECT(memory)},
	{"boot", OBJECT(boot), .always = true},
	{"controllers", INTEGER_OR(1, CONTROLLERS_MAX, "how many storage controllers", 1)},
	{"disks", LIST(disk, PROTOCOL_DISKS_MAX, "disks and drives")},
	{"nics", LIST(nic, PROTOCOL_NICS_MAX, "NICs")},
	{"console", OBJECT(console), .always = true},
	{"display", OBJECT(display)},
	{"hvsock", OBJECT(hvsock)},
	{"integration", OBJECT(integration), .always = true},
	{"start_action", OBJECT(start_action), .always = true},
	{"stop_action", CHOICE(stop_kinds, "shut_down, turn_off or save"),
	 .otherwise = "shut_down"},
	{"on_crash", OBJECT(on_crash), .always = true},
	{"on_reset", CHOICE(reset_kinds, "restart or stop"), .otherwise = "restart"},
	{"resources", OBJECT(resources), .always = true},
	{"access", LIST(access_entry, SETTINGS_ACCESS_MAX, "entries")},
	{NULL},
};

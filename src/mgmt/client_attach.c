#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/parse.h"
#include "base/text.h"
#include "mgmt/client.h"
#include "mgmt/client_daemon.h"
#include "mgmt/client_parts.h"
#include "mgmt/client_vm_options.h"
#include "mgmt/command.h"
#include "mgmt/nic_options.h"
#include "mgmt/options.h"
#include "mgmt/run_options.h"

/* bulkhead disk attach, detach, insert and eject, and attach and detach of NICs and controllers:
 * what comes and goes while a VM runs.  Of a VM that the daemon keeps the settings change, too. */

#define WORDS_MAX 3

struct attach_command {
	const char *words[WORDS_MAX]; /* the VM's name first */
	unsigned int count;
	unsigned int wanted;
	const char *controller;
	bool cdrom, seed; /* a drive, instead of a disk */
	bool json;
};

struct verb {
	const char *method; /* in both interfaces */
	unsigned int words;
	const struct option_set *options;
	const char *usage;
	/* Their parameters: for a VM of `bulkhead run`, and for one that the daemon keeps. */
	int (*read)(const char *const *words, json_t **parameters, struct error *err);
	int (*read_kept)(const struct attach_command *command, json_t **parameters,
			 struct error *err);
};

static int set_json(void *target, const char *value, struct error *err)
{
	((struct attach_command *)target)->json = true;
	return 0;
}

static int set_controller(void *target, const char *value, struct error *err)
{
	((struct attach_command *)target)->controller = value;
	return 0;
}

static int set_cdrom(void *target, const char *value, struct error *err)
{
	((struct attach_command *)target)->cdrom = true;
	return 0;
}

static int set_seed(void *target, const char *value, struct error *err)
{
	((struct attach_command *)target)->seed = true;
	return 0;
}

static const struct option plain_options[] = {
	{"--json", NULL, "print JSON", set_json},
};
static const struct option controller_options[] = {
	{"--controller", "ID",
	 "the controller: scsi (default), scsi1 ...; of what stays also ide or floppy",
	 set_controller},
};
static const struct option drive_options[] = {
	{"--cdrom", NULL, "of a VM of the daemon: a DVD drive; PATH is its medium, or none",
	 set_cdrom},
	{"--seed", NULL, "the same, and PATH the directory of cloud-init's files", set_seed},
};

static const struct option_set plain_set = OPTION_SET(plain_options);
const struct option_set command_disk_detach_options =
	OPTION_SET_AND(controller_options, &plain_set);
const struct option_set command_disk_attach_options =
	OPTION_SET_AND(drive_options, &command_disk_detach_options);

static int set_word(void *target, const char *word, struct error *err)
{
	struct attach_command *command = target;

	if (command->count == command->wanted)
		return error_set(err, EINVAL, "unexpected word \"%.80s\"", word);
	if (command->count == 0 && !run_name_valid(word))
		return error_set(err, EINVAL, "\"%.80s\" cannot be the name of a VM", word);
	command->words[command->count++] = word;
	return 0;
}

static int parse(int argc, char **argv, const struct verb *verb, struct attach_command *command,
		 struct error *err)
{
	int r;

	command->wanted = verb->words;
	r = options_parse_set(verb->options, argc, argv, set_word, command, err);
	if (!r && command->count < verb->words)
		return error_set(err, EINVAL, "give %s", verb->usage);
	return r;
}

/* The supervisor may be in another directory. */
static int add_path(json_t *parameters, const char *path, struct error *err)
{
	CLEANUP_FREE char *absolute = realpath(path, NULL);

	if (!absolute)
		return error_set(err, errno, "disk %.200s: %s; check the path", path,
				 strerror(errno));
	json_object_set_new(parameters, "path", text_json(absolute));
	json_object_set_new(parameters, "name", text_json(path));
	return 0;
}

static int add_lun(json_t *parameters, const char *word, struct error *err)
{
	uint64_t lun;

	if (parse_u64(word, 0, PROTOCOL_DISKS_MAX - 1, &lun))
		return error_set(err, EINVAL, "\"%.80s\" is not a LUN; give 0 to %d", word,
				 PROTOCOL_DISKS_MAX - 1);
	return json_object_set_new(parameters, "lun", json_integer((json_int_t)lun));
}

static int read_attach(const char *const *words, json_t **parameters, struct error *err)
{
	struct run_disk disk;
	int r = run_disk_parse("disk", words[1], &disk, err);

	if (r)
		return r;
	*parameters = json_pack("{s:b, s:b}", "read_only", disk.read_only, "direct", disk.direct);
	if (disk.timeout)
		json_object_set_new(*parameters, "timeout", json_integer(disk.timeout));
	else
		json_object_set_new(*parameters, "format", json_string(disk.format));
	if (disk.iops)
		json_object_set_new(*parameters, "iops", json_integer((json_int_t)disk.iops));
	if (disk.bandwidth)
		json_object_set_new(*parameters, "bandwidth",
				    json_integer((json_int_t)disk.bandwidth));
	if (disk.lun >= 0)
		json_object_set_new(*parameters, "lun", json_integer(disk.lun));
	if (run_disk_is_remote(disk.path))
		r = json_object_set_new(*parameters, "path", text_json(disk.path));
	else
		r = add_path(*parameters, disk.path, err);
	run_disk_clear(&disk);
	return r;
}

static int read_detach(const char *const *words, json_t **parameters, struct error *err)
{
	struct error ignored;

	*parameters = json_object();
	if (add_lun(*parameters, words[1], &ignored))
		json_object_set_new(*parameters, "name", text_json(words[1]));
	return 0;
}

static int refuse_remote(const char *path, struct error *err)
{
	return error_set(err, EINVAL,
			 "%.200s: the drive of a running VM takes a file; give a network block "
			 "device as --cdrom when the VM starts, or attach it as a disk",
			 path);
}

static int read_insert(const char *const *words, json_t **parameters, struct error *err)
{
	int r;

	if (run_disk_is_remote(words[2]))
		return refuse_remote(words[2], err);
	*parameters = json_object();
	r = add_lun(*parameters, words[1], err);
	return r ? r : add_path(*parameters, words[2], err);
}

static int read_eject(const char *const *words, json_t **parameters, struct error *err)
{
	*parameters = json_object();
	return add_lun(*parameters, words[1], err);
}

static int read_nic(const char *const *words, json_t **parameters, struct error *err)
{
	if (strncmp(words[1], "nic", 3) != 0)
		return error_set(err, EINVAL,
				 "\"%.80s\" is not a NIC's name; inspect shows them as netvsp@nic0 "
				 "and so on",
				 words[1]);
	*parameters = json_pack("{s:o}", "nic", text_json(words[1]));
	return 0;
}

/* The supervisor may be in another directory; the rest of the words stay. */
static int read_new_nic(const char *const *words, json_t **parameters, struct error *err)
{
	char spec[PATH_MAX + 256];
	struct run_nic nic;
	int r = nic_options_parse(words[1], &nic, err);

	if (r)
		return r;
	snprintf(spec, sizeof(spec), "%s", words[1]);
	if (nic.kind == RUN_NIC_STREAM) {
		CLEANUP_FREE char *absolute = realpath(nic.where, NULL);
		const char *rest = strchr(words[1], ',');

		snprintf(spec, sizeof(spec), "stream=%s%s", absolute ? absolute : nic.where,
			 rest ? rest : "");
	}
	*parameters = json_pack("{s:o}", "spec", text_json(spec));
	nic_options_clear(&nic);
	return 0;
}

static int read_no_more(const char *const *words, json_t **parameters, struct error *err)
{
	*parameters = json_object();
	return 0;
}

static int read_controller(const char *const *words, json_t **parameters, struct error *err)
{
	*parameters = json_pack("{s:o}", "controller", text_json(words[1]));
	return 0;
}

/* A disk or a drive, as the settings have it. */
static int read_kept_attach(const struct attach_command *command, json_t **parameters,
			    struct error *err)
{
	const char *word = command->words[1];
	struct run_disk disk;
	json_t *object;
	int r = command->seed	 ? run_seed_parse("--seed", word, &disk, err)
		: command->cdrom ? run_cdrom_parse("--cdrom", word, &disk, err)
				 : run_disk_parse("disk", word, &disk, err);

	if (r)
		return r;
	r = vm_options_disk(&disk, &object, err);
	run_disk_clear(&disk);
	if (!r && command->controller)
		json_object_set_new(object, "controller", text_json(command->controller));
	if (!r)
		*parameters = json_pack("{s:o}", "disk", object);
	return r;
}

static int read_kept_disk(const struct attach_command *command, json_t **parameters,
			  struct error *err)
{
	CLEANUP_FREE char *name = NULL;
	int r = parts_find(command->words[0], &parts_disks, command->words[1], command->controller,
			   &name, err);

	if (!r)
		*parameters = json_pack("{s:s}", "disk", name);
	return r;
}

static int read_kept_insert(const struct attach_command *command, json_t **parameters,
			    struct error *err)
{
	json_t *path;
	int r;

	if (run_disk_is_remote(command->words[2]))
		return refuse_remote(command->words[2], err);
	r = read_kept_disk(command, parameters, err);
	if (!r)
		r = vm_options_path(command->words[2], &path, err);
	return r ? r : json_object_set_new(*parameters, "path", path);
}

static int read_kept_new_nic(const struct attach_command *command, json_t **parameters,
			     struct error *err)
{
	struct run_nic nic;
	json_t *object;
	int r = nic_options_parse(command->words[1], &nic, err);

	if (r)
		return r;
	r = vm_options_nic(&nic, &object, err);
	nic_options_clear(&nic);
	if (!r)
		*parameters = json_pack("{s:o}", "nic", object);
	return r;
}

static int read_kept_nic(const struct attach_command *command, json_t **parameters,
			 struct error *err)
{
	CLEANUP_FREE char *name = NULL;
	int r = parts_find(command->words[0], &parts_nics, command->words[1], NULL, &name, err);

	if (!r)
		*parameters = json_pack("{s:s}", "nic", name);
	return r;
}

static int read_kept_no_more(const struct attach_command *command, json_t **parameters,
			     struct error *err)
{
	return read_no_more(command->words, parameters, err);
}

static int read_kept_controller(const struct attach_command *command, json_t **parameters,
				struct error *err)
{
	return read_controller(command->words, parameters, err);
}

static void print_reply(const json_t *reply, bool json)
{
	const json_t *lun = json_object_get(reply, "lun");
	const char *nic = json_string_value(json_object_get(reply, "nic"));
	const char *controller = json_string_value(json_object_get(reply, "controller"));

	if (json)
		client_print_json(reply);
	else if (lun)
		printf("LUN %d\n", (int)json_integer_value(lun));
	else if (nic || controller)
		printf("%s\n", nic ? nic : controller);
}

static int call_run(const struct attach_command *command, const struct verb *verb, int *code,
		    struct error *err)
{
	json_t *parameters = NULL, *reply;
	char method[64];
	int r = command->cdrom || command->seed
			? error_set(err, EINVAL,
				    "%s: the drives of a VM of `bulkhead run` are there from its "
				    "start; give it --cdrom or --seed then",
				    command->words[0])
			: verb->read(command->words, &parameters, err);

	*code = EXIT_USAGE;
	if (!r && command->controller)
		json_object_set_new(parameters, "controller", text_json(command->controller));
	if (!r) {
		snprintf(method, sizeof(method), "io.bulkhead.VM.%s", verb->method);
		r = client_call(command->words[0], method, parameters, CLIENT_TIMEOUT_MS, &reply,
				err);
		*code = client_exit(r);
	}
	json_decref(parameters);
	if (r)
		return r;
	print_reply(reply, command->json);
	json_decref(reply);
	return 0;
}

static int call_kept(const struct attach_command *command, const struct verb *verb,
		     struct error *err)
{
	json_t *parameters = NULL;
	int r = verb->read_kept(command, &parameters, err);

	if (!r)
		r = parts_call(command->words[0], verb->method, parameters, command->json, err);
	json_decref(parameters);
	return r;
}

static int call_verb(int argc, char **argv, const struct verb *verb)
{
	struct attach_command command = {.count = 0};
	enum client_owner owner;
	struct error err;
	int code = EXIT_USAGE;
	int r = parse(argc, argv, verb, &command, &err);

	if (r)
		return command_fail(err.text, EXIT_USAGE, command.json);
	r = client_find(command.words[0], &owner, &err);
	if (r) {
		code = client_exit(r);
	} else if (owner == CLIENT_DAEMON) {
		r = call_kept(&command, verb, &err);
		code = client_exit(r);
	} else {
		r = call_run(&command, verb, &code, &err);
	}
	return r ? command_fail(err.text, code, command.json) : 0;
}

int command_disk_attach(int argc, char **argv)
{
	static const struct verb verb = {"AttachDisk",
					 2,
					 &command_disk_attach_options,
					 "the NAME of a VM and the PATH of a disk",
					 read_attach,
					 read_kept_attach};

	return call_verb(argc, argv, &verb);
}

int command_disk_detach(int argc, char **argv)
{
	static const struct verb verb = {"DetachDisk",
					 2,
					 &command_disk_detach_options,
					 "the NAME of a VM and the name, LUN or PATH of a disk",
					 read_detach,
					 read_kept_disk};

	return call_verb(argc, argv, &verb);
}

int command_disk_insert(int argc, char **argv)
{
	static const struct verb verb = {
		"ChangeMedium",
		3,
		&command_disk_detach_options,
		"the NAME of a VM, the LUN of its DVD drive and an ISO image",
		read_insert,
		read_kept_insert};

	return call_verb(argc, argv, &verb);
}

int command_disk_eject(int argc, char **argv)
{
	static const struct verb verb = {"ChangeMedium",
					 2,
					 &command_disk_detach_options,
					 "the NAME of a VM and the LUN of its DVD drive",
					 read_eject,
					 read_kept_disk};

	return call_verb(argc, argv, &verb);
}

int command_nic_detach(int argc, char **argv)
{
	static const struct verb verb = {
		"DetachNic", 2,
		&plain_set,  "the NAME of a VM and one of its NICs, like nic0",
		read_nic,    read_kept_nic};

	return call_verb(argc, argv, &verb);
}

int command_nic_attach(int argc, char **argv)
{
	static const struct verb verb = {
		"AttachNic",  2,
		&plain_set,   "the NAME of a VM and what --nic would take, like tap=tap0",
		read_new_nic, read_kept_new_nic};

	return call_verb(argc, argv, &verb);
}

int command_controller_attach(int argc, char **argv)
{
	static const struct verb verb = {
		"AttachController", 1, &plain_set, "the NAME of a VM", read_no_more,
		read_kept_no_more,
	};

	return call_verb(argc, argv, &verb);
}

int command_controller_detach(int argc, char **argv)
{
	static const struct verb verb = {
		"DetachController", 2,
		&plain_set,	    "the NAME of a VM and one of its controllers, like scsi1",
		read_controller,    read_kept_controller};

	return call_verb(argc, argv, &verb);
}

#include "mgmt/run_options.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/parse.h"
#include "mgmt/command.h"
#include "mgmt/controller.h"
#include "mgmt/fault_options.h"
#include "mgmt/generation1.h"
#include "mgmt/integration_options.h"
#include "mgmt/options.h"

#define DEFAULT_MEMORY (512ull << 20)
#define APPEND_MAX     65536 /* the loader knows what this kernel takes; this keeps messages sane */

static const char *const vmbus_versions[] = {"2.4", "3.0", "4.0", "4.1",
					     "5.0", "5.1", "5.2", "5.3"};

bool run_name_valid(const char *name)
{
	size_t length = strlen(name);

	if (!length || length >= RUN_NAME_SIZE || !isalnum((unsigned char)name[0]))
		return false;
	for (; *name; name++) {
		if (!isalnum((unsigned char)*name) && !strchr("._-", *name))
			return false;
	}
	return true;
}

static int set_name(void *target, const char *value, struct error *err)
{
	struct run_options *options = target;

	if (!run_name_valid(value))
		return error_set(err, EINVAL,
				 "--name %.80s: use 1 to %d letters, digits, '.', '_' or '-', "
				 "beginning with a letter or digit",
				 value, RUN_NAME_SIZE - 1);
	strcpy(options->name, value);
	options->named = true;
	return 0;
}

static int set_cpus(void *target, const char *value, struct error *err)
{
	struct run_options *options = target;
	uint64_t cpus;

	if (parse_u64(value, 1, PROTOCOL_CPUS_MAX, &cpus))
		return error_set(err, EINVAL, "--cpus %.80s: give a number from 1 to %d", value,
				 PROTOCOL_CPUS_MAX);
	options->cpus = (unsigned int)cpus;
	return 0;
}

static int set_memory(void *target, const char *value, struct error *err)
{
	return memory_options_parse(value, &((struct run_options *)target)->memory, err);
}

static int set_path(const char **target, const char *flag, const char *value, struct error *err)
{
	if (!*value)
		return error_set(err, EINVAL, "%s needs the path of a file", flag);
	*target = value;
	return 0;
}

static int set_kernel(void *target, const char *value, struct error *err)
{
	return set_path(&((struct run_options *)target)->kernel, "--kernel", value, err);
}

static int set_initrd(void *target, const char *value, struct error *err)
{
	return set_path(&((struct run_options *)target)->initrd, "--initrd", value, err);
}

/* One of two words; *out is whether it is the first. */
static int set_choice(bool *out, const char *flag, const char *value, const char *first,
		      const char *second, struct error *err)
{
	if (strcmp(value, first) && strcmp(value, second))
		return error_set(err, EINVAL, "%s %.80s: give %s or %s", flag, value, first,
				 second);
	*out = !strcmp(value, first);
	return 0;
}

static int set_generation(void *target, const char *value, struct error *err)
{
	struct run_options *options = target;

	options->has_generation = true;
	return set_choice(&options->generation1, "--generation", value, "1", "2", err);
}

static int set_firmware(void *target, const char *value, struct error *err)
{
	return set_path(&((struct run_options *)target)->firmware, "--firmware", value, err);
}

static int set_firmware_log(void *target, const char *value, struct error *err)
{
	return set_path(&((struct run_options *)target)->firmware_log, "--firmware-log", value,
			err);
}

static int set_boot_order(void *target, const char *value, struct error *err)
{
	((struct run_options *)target)->boot_order = value;
	return generation1_check_order(value, err);
}

static int set_append(void *target, const char *value, struct error *err)
{
	if (strlen(value) > APPEND_MAX)
		return error_set(err, EINVAL, "--append: at most %d characters", APPEND_MAX);
	((struct run_options *)target)->append = value;
	return 0;
}

static int add_disk(struct run_options *options, const char *flag, const char *value,
		    int (*parse)(const char *flag, const char *value, struct run_disk *disk,
				 struct error *err),
		    struct error *err)
{
	int r;

	if (options->disk_count == PROTOCOL_DISKS_MAX)
		return error_set(err, EINVAL, "%s: at most %d disks and drives", flag,
				 PROTOCOL_DISKS_MAX);
	r = parse(flag, value, &options->disks[options->disk_count], err);
	if (!r)
		options->disk_count++;
	return r;
}

static int set_disk(void *target, const char *value, struct error *err)
{
	return add_disk(target, "--disk", value, run_disk_parse, err);
}

static int set_controllers(void *target, const char *value, struct error *err)
{
	uint64_t count;

	if (parse_u64(value, 1, CONTROLLERS_MAX, &count))
		return error_set(err, EINVAL, "--controllers %.40s: give 1 to %d", value,
				 CONTROLLERS_MAX);
	((struct run_options *)target)->controllers = (unsigned int)count;
	return 0;
}

/* Each that a disk names is there. */
static int check_controllers(const struct run_options *options, struct error *err)
{
	for (unsigned int i = 0; i < options->disk_count; i++) {
		const struct run_disk *disk = &options->disks[i];

		if (disk->controller >= options->controllers)
			return error_set(
				err, EINVAL,
				"%s %.200s: there is no controller scsi%u; give --controllers %u",
				disk->flag, disk->path ? disk->path : "none", disk->controller,
				disk->controller + 1);
	}
	return 0;
}

static int set_boot_menu(void *target, const char *value, struct error *err)
{
	uint64_t seconds;

	if (parse_u64(value, 1, RUN_BOOT_MENU_MAX, &seconds))
		return error_set(err, EINVAL, "--boot-menu %.40s: give 1 to %d seconds", value,
				 RUN_BOOT_MENU_MAX);
	((struct run_options *)target)->boot_menu = (unsigned int)seconds;
	return 0;
}

static int set_floppy(void *target, const char *value, struct error *err)
{
	return add_disk(target, "--floppy", value, run_floppy_parse, err);
}

static int set_seed(void *target, const char *value, struct error *err)
{
	return add_disk(target, "--seed", value, run_seed_parse, err);
}

static int set_cdrom(void *target, const char *value, struct error *err)
{
	return add_disk(target, "--cdrom", value, run_cdrom_parse, err);
}

static int set_nic(void *target, const char *value, struct error *err)
{
	struct run_options *options = target;
	int r;

	if (options->nic_count == PROTOCOL_NICS_MAX)
		return error_set(err, EINVAL, "--nic: at most %d NICs", PROTOCOL_NICS_MAX);
	r = (options->managed ? nic_options_parse_given
			      : nic_options_parse)(value, &options->nics[options->nic_count], err);
	if (!r)
		options->nic_count++;
	return r;
}

static int set_restore(void *target, const char *value, struct error *err)
{
	return set_path(&((struct run_options *)target)->restore, "--restore", value, err);
}

static int set_trace(void *target, const char *value, struct error *err)
{
	if (strncmp(value, "vmbus=", 6) != 0 || !value[6])
		return error_set(err, EINVAL, "--trace %.80s: give vmbus=FILE", value);
	((struct run_options *)target)->trace_path = value + 6;
	return 0;
}

static int set_pcap(void *target, const char *value, struct error *err)
{
	struct run_options *options = target;
	size_t length = strcspn(value, "=");
	char number[8] = "";
	uint64_t nic;

	if (length > 3 && length < 3 + sizeof(number) && !strncmp(value, "nic", 3))
		memcpy(number, value + 3, length - 3);
	if (parse_u64(number, 0, PROTOCOL_NICS_MAX - 1, &nic) || !value[length] ||
	    !value[length + 1])
		return error_set(err, EINVAL, "--pcap %.80s: give nic0=FILE for the first NIC",
				 value);
	options->pcap_paths[nic] = value + length + 1;
	return 0;
}

/* Each NIC that is to be captured is there. */
static int check_pcaps(const struct run_options *options, struct error *err)
{
	for (unsigned int i = options->nic_count; i < PROTOCOL_NICS_MAX; i++) {
		if (options->pcap_paths[i])
			return error_set(err, EINVAL,
					 "--pcap nic%u: there are %u NICs; give one more --nic, or "
					 "another number",
					 i, options->nic_count);
	}
	return 0;
}

static int set_fault(void *target, const char *value, struct error *err)
{
	struct run_options *options = target;
	char *faults;
	int r = fault_options_read(value, &faults, err);

	if (r)
		return r;
	free(options->faults);
	options->faults = faults;
	return 0;
}

static int set_hvsock(void *target, const char *value, struct error *err)
{
	if (strncmp(value, "unix:", 5) != 0 || !value[5])
		return error_set(err, EINVAL, "--hvsock %.80s: give unix:PATH", value);
	((struct run_options *)target)->hvsock_path = value + 5;
	return 0;
}

static int set_video(void *target, const char *value, struct error *err)
{
	return display_options_video(value, &((struct run_options *)target)->display, err);
}

static int set_vnc(void *target, const char *value, struct error *err)
{
	return display_options_vnc(value, &((struct run_options *)target)->display, err);
}

static int set_integration(void *target, const char *value, struct error *err)
{
	struct run_options *options = target;
	json_t *device;
	int r = integration_options_parse(value, &device, err);

	if (r)
		return r;
	json_decref(options->integration);
	options->integration = device;
	options->has_integration = true;
	return 0;
}

static int set_console(void *target, const char *value, struct error *err)
{
	struct run_options *options = target;

	options->console_path = NULL;
	if (!strcmp(value, "stdio")) {
		options->console = RUN_CONSOLE_STDIO;
	} else if (!strcmp(value, "none")) {
		options->console = RUN_CONSOLE_NONE;
	} else if (options->managed && !strcmp(value, "ring")) {
		options->console = RUN_CONSOLE_RING;
	} else if (!strncmp(value, "file:", 5) && value[5]) {
		options->console = RUN_CONSOLE_FILE;
		options->console_path = value + 5;
	} else if (!strncmp(value, "unix:", 5) && value[5]) {
		options->console = RUN_CONSOLE_UNIX;
		options->console_path = value + 5;
	} else {
		return error_set(err, EINVAL,
				 "--console %.80s: give stdio, none, file:PATH or unix:PATH",
				 value);
	}
	return 0;
}

static int set_vmbus_max_version(void *target, const char *value, struct error *err)
{
	for (size_t i = 0; i < ARRAY_LENGTH(vmbus_versions); i++) {
		if (!strcmp(vmbus_versions[i], value)) {
			((struct run_options *)target)->vmbus_max_version = vmbus_versions[i];
			return 0;
		}
	}
	return error_set(err, EINVAL,
			 "--vmbus-max-version %.80s: give one of 2.4, 3.0, 4.0, 4.1, 5.0, 5.1, "
			 "5.2, 5.3",
			 value);
}

static int set_stimer(void *target, const char *value, struct error *err)
{
	struct run_options *options = target;

	options->has_stimer = true;
	return set_choice(&options->stimer, "--stimer", value, "on", "off", err);
}

static int set_on_reset(void *target, const char *value, struct error *err)
{
	struct run_options *options = target;

	return set_choice(&options->restart, "--on-reset", value, "restart", "exit", err);
}

static int set_on_full(void *target, const char *value, struct error *err)
{
	struct run_options *options = target;

	return set_choice(&options->pause_when_full, "--on-full", value, "pause", "report", err);
}

static int set_dtb(void *target, const char *value, struct error *err)
{
	((struct run_options *)target)->device_tree = true;
	return 0;
}

static int set_debug_exit(void *target, const char *value, struct error *err)
{
	((struct run_options *)target)->debug_exit = true;
	return 0;
}

static int set_json(void *target, const char *value, struct error *err)
{
	((struct run_options *)target)->json = true;
	return 0;
}

/* What a VM is, whoever runs it. */
static const struct option vm_options[] = {
	{"--cpus", "N", "virtual processors, 1 to 64 (default: 1)", set_cpus},
	{"--memory", "SIZE|startup=SIZE[,min=SIZE][,max=SIZE][,buffer=PCT][,weight=N]",
	 "guest RAM, like 512M or 4G (default: 512M); with startup= the host gives and takes "
	 "between min and max",
	 set_memory},
	{"--generation", "1|2",
	 "1: a PC with firmware, which boots from a disk; 2: --kernel is loaded (default: 2)",
	 set_generation},
	{"--boot-order", "WHAT[,WHAT]...",
	 "what a Generation 1 VM boots from: disk, cd, floppy, network (default: "
	 "cd,disk,network,floppy)",
	 set_boot_order},
	{"--boot-menu", "SECONDS",
	 "a Generation 1 VM's firmware waits so long for the Esc key, and then offers what there "
	 "is",
	 set_boot_menu},
	{"--floppy", "FILE[,ro]", "image of the medium in a Generation 1 VM's floppy drive",
	 set_floppy},
	{"--firmware", "FILE", "of a Generation 1 VM (default: " RUN_FIRMWARE ")", set_firmware},
	{"--firmware-log", "FILE",
	 "what a Generation 1 VM's firmware says of its work, up to 16 MiB", set_firmware_log},
	{"--kernel", "FILE", "bzImage, ELF vmlinux, PVH or multiboot-1 kernel (required)",
	 set_kernel},
	{"--initrd", "FILE", "initial RAM disk", set_initrd},
	{"--append", "STRING", "kernel command line", set_append},
	{"--disk",
	 "PATH[,ro][,direct][,lun=N][,controller=scsiN][,format=raw|vhd|vhdx][,iops=N][,bandwidth="
	 "SIZE]",
	 "image or block device on the SCSI controller (of a Generation 1 VM the first four on "
	 "IDE, "
	 "unless lun= is given); *.vhd and *.vhdx are read as such, all else is raw; up to 64",
	 set_disk},
	{"--controllers", "N", "SCSI controllers, 1 to 8 (default: 1): scsi, scsi1 and so on",
	 set_controllers},
	{"--cdrom", "ISO|none", "DVD drive with that image in it, on the same controller",
	 set_cdrom},
	{"--seed", "DIR",
	 "DVD drive with a NoCloud seed of DIR's files (user-data, meta-data ...) for cloud-init; "
	 "needs xorriso",
	 set_seed},
	{"--nic", "WHERE[,mac=ADDRESS][,queues=N][,bandwidth=BITS][,legacy]",
	 "NIC: tap=INTERFACE, user (NAT, needs passt), stream=PATH or switch[=NAME] (a "
	 "daemon's VM); up to 8; legacy: a DEC 21140 of a Generation 1 VM",
	 set_nic},
	{"--hvsock", "unix:PATH",
	 "sockets to the guest: \"CONNECT PORT\" to PATH; its own connects go to PATH_PORT",
	 set_hvsock},
	{"--video", "WIDTHxHEIGHT",
	 "screen, keyboard and mouse; the resolution that the guest is to prefer", set_video},
	{"--vnc", "unix:PATH|127.0.0.1:PORT", "the same (default: 1024x768), shown by VNC there",
	 set_vnc},
	{"--integration", "all|none|SERVICE[=VERSION],...",
	 "services: shutdown, timesync, heartbeat, kvp, vss, file-copy (default: all)",
	 set_integration},
	{"--vmbus-max-version", "V", "highest VMBus version offered, 2.4 to 5.3 (default: 5.3)",
	 set_vmbus_max_version},
	{"--stimer", "on|off", "offer Hyper-V synthetic timers (default: off)", set_stimer},
	{"--dtb", NULL, "describe the machine as a device tree too (SETUP_DTB)", set_dtb},
};

/* What is only said of a run. */
static const struct option run_only_options[] = {
	{"--name", "NAME", "the VM's name for other commands (default: vm-PID)", set_name},
	{"--fault", "FILE|SPEC",
	 "inject faults, like \"seed=7; scsi0: delay 5ms p=0.1\" (docs/faults.md)", set_fault},
	{"--pcap", "nicN=FILE", "record a NIC's frames (nic0: the first) as pcapng, for tcpdump",
	 set_pcap},
	{"--trace", "vmbus=FILE", "record the VMBus; `bulkhead trace show` prints it", set_trace},
	{"--console", "WHERE", "COM1: stdio (default), none, file:PATH or unix:PATH", set_console},
	{"--restore", "DIRECTORY",
	 "go on from where `bulkhead save` wrote a VM of the same options, which is used up by "
	 "that",
	 set_restore},
	{"--debug-exit", NULL, "a port whose value is the exit code, for test payloads",
	 set_debug_exit},
	{"--on-reset", "restart|exit", "when the guest resets (default: restart)", set_on_reset},
	{"--on-full", "pause|report",
	 "when the host has no room for what a disk is to hold: pause the VM until it is resumed, "
	 "or fail the guest's write (default: report)",
	 set_on_full},
	{"--json", NULL, "end with one JSON object on standard output", set_json},
};

static const struct option_set run_only_set = OPTION_SET(run_only_options);
const struct option_set run_vm_options = OPTION_SET(vm_options);
const struct option_set command_run_options = OPTION_SET_AND(vm_options, &run_only_set);

int run_options_parse(int argc, char **argv, bool managed, struct run_options *options,
		      struct error *err)
{
	int r;

	*options = (struct run_options){
		.managed = managed,
		.pause_when_full = managed,
		.console = managed ? RUN_CONSOLE_RING : RUN_CONSOLE_STDIO,
		.cpus = 1,
		.controllers = 1,
		.memory = memory_options_static(DEFAULT_MEMORY),
		.append = "",
		.vmbus_max_version = vmbus_versions[ARRAY_LENGTH(vmbus_versions) - 1],
		.restart = true,
	};
	integration_options_parse("all", &options->integration, err);
	snprintf(options->name, sizeof(options->name), "vm-%d", (int)getpid());
	r = options_parse_set(&command_run_options, argc, argv, NULL, options, err);
	if (r)
		return r;
	r = generation1_check(options, err);
	if (!r)
		r = check_controllers(options, err);
	if (!r)
		r = check_pcaps(options, err);
	if (r)
		return r;
	return nic_options_addresses(options->nics, options->nic_count, options->name, err);
}

void run_options_clear(struct run_options *options)
{
	for (unsigned int i = 0; i < options->disk_count; i++)
		run_disk_clear(&options->disks[i]);
	options->disk_count = 0;
	for (unsigned int i = 0; i < options->nic_count; i++)
		nic_options_clear(&options->nics[i]);
	options->nic_count = 0;
	json_decref(options->integration);
	options->integration = NULL;
	free(options->faults);
	options->faults = NULL;
}

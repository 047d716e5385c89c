#include "mgmt/run_config.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/checked.h"
#include "base/text.h"
#include "mgmt/controller.h"
#include "mgmt/generation1.h"
#include "mgmt/worker_spawn.h"

#define SEND_TIMEOUT_MS	 10000
#define LEGACY_SLOT	 10 /* on PCI, of the first legacy adapter */
#define FLOPPY_TYPE_1440 4  /* of the drive, as CMOS memory names it */
#define COM2_PORT	 0x2f8
#define COM2_GSI	 3
#define IDE		 -1 /* in the place of a SCSI controller's number */

/* Descriptors on their way, and the index that the configuration calls each by. */
struct fd_table {
	int fds[PROTOCOL_FDS_MAX];
	unsigned int count;
};

/* What there is no room for is counted all the same. */
static int add_fd(struct fd_table *table, int fd)
{
	if (table->count < PROTOCOL_FDS_MAX)
		table->fds[table->count] = fd;
	return (int)table->count++;
}

/* The worker's sentences name the file as the user gave it. */
static json_t *image(struct fd_table *table, const char *flag, const char *path, int fd)
{
	char name[PATH_MAX + 16];

	snprintf(name, sizeof(name), "%s %s", flag, path);
	return json_pack("{s:o, s:i}", "name", text_json(name), "fd", add_fd(table, fd));
}

static json_t *uart(struct fd_table *table, const struct console *console)
{
	int fd = console_worker_fd(console);
	json_t *device = json_pack("{s:s}", "device", "uart");

	if (fd < 0)
		return device;
	json_object_set_new(device, "output_fd", json_integer(add_fd(table, fd)));
	if (!console_write_only(console))
		json_object_set_new(device, "input_fd", json_integer(add_fd(table, fd)));
	return device;
}

static json_t *parents_of(struct fd_table *table, const char *format,
			  const struct disk_parents *parents)
{
	json_t *list = json_array();

	for (unsigned int i = 0; i < parents->count; i++)
		json_array_append_new(list, disk_parent_config(&parents->list[i], format,
							       add_fd(table, parents->list[i].fd)));
	return list;
}

static void add_remote(struct fd_table *table, json_t *config, const struct remote_disk *remote)
{
	int fds[REMOTE_FDS_MAX];
	unsigned int count = remote_disk_fds(remote, fds);

	remote_disk_config(remote, (int)table->count, config);
	for (unsigned int i = 0; i < count; i++)
		add_fd(table, fds[i]);
}

static json_t *disk_of(struct fd_table *table, const struct run_disk *disk, int place, int fd,
		       const struct disk_parents *parents, const struct remote_disk *remote)
{
	json_t *config = json_pack("{s:i, s:b, s:b}", "lun", place, "read_only", disk->read_only,
				   "direct", disk->direct);

	if (disk->iops)
		json_object_set_new(config, "iops", json_integer((json_int_t)disk->iops));
	if (disk->bandwidth)
		json_object_set_new(config, "bandwidth", json_integer((json_int_t)disk->bandwidth));
	if (disk->cdrom)
		json_object_set_new(config, "type", json_string("cdrom"));
	if (!disk->path)
		return config;
	json_object_set_new(config, "backend", json_string(disk->format));
	json_object_set_new(config, "name", text_json(disk->path));
	if (remote) {
		add_remote(table, config, remote);
		return config;
	}
	json_object_set_new(config, "fd", json_integer(add_fd(table, fd)));
	json_object_set_new(config, "parents", parents_of(table, disk->format, parents));
	return config;
}

/* The first that is free, where all before it on its controller are as they come. */
static int default_lun(const struct run_options *options, unsigned int disk)
{
	int lun = 0;

	for (unsigned int i = 0; i < disk; i++)
		lun += options->disks[i].controller == options->disks[disk].controller;
	return lun;
}

/* Those of one controller, by its number. */
static json_t *disks_of(struct fd_table *table, const struct run_options *options,
			const struct vm_files *files, const struct remote_disks *remotes,
			int controller)
{
	json_t *disks = json_array();

	for (unsigned int i = 0; i < files->disk_count; i++) {
		const struct run_disk *disk = &options->disks[i];
		int place = generation1_ide_place(options, i);

		if (disk->floppy || (place >= 0 ? IDE : (int)disk->controller) != controller)
			continue;
		if (controller != IDE)
			place = disk->lun < 0 ? default_lun(options, i) : disk->lun;
		json_array_append_new(disks, disk_of(table, disk, place, files->disks[i],
						     &files->parents[i],
						     remote_disks_find(remotes, disk)));
	}
	return disks;
}

/* The floppy drive is there without a medium too. */
static json_t *floppy(struct fd_table *table, const struct run_options *options,
		      const struct vm_files *files)
{
	int medium = generation1_floppy(options);
	json_t *config = medium < 0 ? json_object()
				    : disk_of(table, &options->disks[medium], 0,
					      files->disks[medium], &files->parents[medium], NULL);

	json_object_set_new(config, "device", json_string("floppy"));
	json_object_set_new(config, "on_full",
			    json_string(options->pause_when_full ? "pause" : "report"));
	return config;
}

static void generation1_drives(json_t *list, struct fd_table *table,
			       const struct run_options *options, const struct vm_files *files,
			       const struct remote_disks *remotes)
{
	json_array_append_new(list,
			      json_pack("{s:s, s:s, s:o}", "device", "ide", "on_full",
					options->pause_when_full ? "pause" : "report", "disks",
					disks_of(table, options, files, remotes, IDE)));
	json_array_append_new(list, floppy(table, options, files));
}

/* The first without disks too: they may be attached later. */
static void controllers(json_t *list, struct fd_table *table, const struct run_options *options,
			const struct vm_files *files, const struct remote_disks *remotes)
{
	for (unsigned int i = 0; i < options->controllers; i++)
		json_array_append_new(
			list, controller_config(options->name, i, options->pause_when_full,
						disks_of(table, options, files, remotes, (int)i)));
}

/* legacy: how many legacy adapters come before it. */
static json_t *nic(struct fd_table *table, const struct nic *nic, int legacy, int pcap)
{
	json_t *config = nic_config(nic);
	json_t *fds = json_array();

	for (unsigned int i = 0; i < nic->fd_count; i++)
		json_array_append_new(fds, json_integer(add_fd(table, nic->fds[i])));
	json_object_set_new(config, "fds", fds);
	if (nic->options->legacy) {
		json_object_set_new(config, "device", json_string("tulip"));
		json_object_set_new(config, "slot", json_integer(LEGACY_SLOT + legacy));
	}
	if (pcap >= 0)
		json_object_set_new(config, "capture_fd", json_integer(add_fd(table, pcap)));
	return config;
}

static json_t *screen(struct fd_table *table, const struct display *display)
{
	json_t *config = display_config(display);

	json_object_set_new(config, "vram_fd", json_integer(add_fd(table, display->vram)));
	if (display->viewer >= 0)
		json_object_set_new(config, "viewer_fd",
				    json_integer(add_fd(table, display->viewer)));
	return config;
}

static void plain_chips(json_t *list, const char *const *names, size_t count)
{
	for (size_t i = 0; i < count; i++)
		json_array_append_new(list, json_pack("{s:s}", "device", names[i]));
}

static void generation2_chips(json_t *list)
{
	static const char *const names[] = {"power", "ged", "cmos"};

	plain_chips(list, names, ARRAY_LENGTH(names));
}

static json_t *vga(struct fd_table *table, const struct vm_files *files,
		   const struct display *display)
{
	json_t *config =
		json_pack("{s:s, s:i}", "device", "vga", "vram_fd", add_fd(table, display->vram));

	if (files->vga_firmware >= 0)
		json_object_set_new(config, "rom_fd",
				    json_integer(add_fd(table, files->vga_firmware)));
	return config;
}

/* The host bridge is first: it stands for the bus that others are on. */
static void generation1_chips(json_t *list, struct fd_table *table,
			      const struct run_options *options, const struct trace_files *traces)
{
	static const char *const names[] = {"host_bridge", "piix4_isa", "piix4_pm", "reset_control",
					    "i8042"};
	/* Of an empty drive firmware need not know: it would try to boot from it. */
	int drive = generation1_floppy(options) < 0 ? 0 : FLOPPY_TYPE_1440;

	plain_chips(list, names, ARRAY_LENGTH(names));
	json_array_append_new(list, json_pack("{s:s, s:i}", "device", "cmos", "floppy", drive));
	json_array_append_new(list, json_pack("{s:s, s:s, s:i, s:i}", "device", "uart", "id",
					      "com2", "port", COM2_PORT, "gsi", COM2_GSI));
	if (traces->firmware >= 0)
		json_array_append_new(list, json_pack("{s:s, s:i}", "device", "firmware_log", "fd",
						      add_fd(table, traces->firmware)));
}

static json_t *devices(struct fd_table *table, const struct run_options *options,
		       const struct vm_files *files, const struct nics *nics,
		       const struct remote_disks *remotes, const struct display *display,
		       const struct console *console, const struct trace_files *traces)
{
	json_t *list = json_array();
	int legacy = 0;

	json_array_append_new(list, uart(table, console));
	if (options->generation1)
		generation1_chips(list, table, options, traces);
	else
		generation2_chips(list);
	if (options->debug_exit)
		json_array_append_new(list, json_pack("{s:s}", "device", "debug_exit"));
	if (options->generation1)
		generation1_drives(list, table, options, files, remotes);
	controllers(list, table, options, files, remotes);
	if (options->hvsock_path)
		json_array_append_new(list, json_pack("{s:s}", "device", "hvsock"));
	json_array_append_new(list, memory_options_device(&options->memory));
	if (options->integration)
		json_array_append(list, options->integration);
	for (unsigned int i = 0; i < nics->count; i++) {
		json_array_append_new(list, nic(table, &nics->list[i], legacy, traces->pcaps[i]));
		legacy += options->nics[i].legacy;
	}
	if (options->display.wanted && options->generation1)
		json_array_append_new(list, vga(table, files, display));
	if (options->display.wanted)
		json_array_append_new(list, screen(table, display));
	return list;
}

/* What it starts with. */
static void add_start(json_t *config, struct fd_table *table, const struct run_options *options,
		      const struct vm_files *files)
{
	json_object_set_new(config, "generation", json_integer(options->generation1 ? 1 : 2));
	if (options->generation1) {
		json_object_set_new(config, "firmware",
				    image(table, "--firmware", options->firmware, files->firmware));
		json_object_set_new(config, "boot_order", generation1_boot_order(options));
		json_object_set_new(config, "boot_menu_ms",
				    json_integer(options->boot_menu * 1000u));
		return;
	}
	json_object_set_new(config, "kernel",
			    image(table, "--kernel", options->kernel, files->kernel));
	if (options->initrd)
		json_object_set_new(config, "initrd",
				    image(table, "--initrd", options->initrd, files->initrd));
}

static json_t *configuration(struct fd_table *table, const struct run_options *options,
			     const struct vm_files *files, const struct nics *nics,
			     const struct remote_disks *remotes, const struct display *display,
			     const struct console *console, const struct trace_files *traces,
			     const struct saved_state_files *saved)
{
	json_t *config = json_pack(
		"{s:s, s:i, s:I, s:s, s:b, s:b, s:s, s:b, s:s, s:i}", "name", options->name, "cpus",
		(int)options->cpus, "memory", (json_int_t)options->memory.startup, "command_line",
		options->append, "stimer", options->stimer, "device_tree", options->device_tree,
		"on_reset", options->restart ? "restart" : "exit", "paused",
		console_write_only(console), "vmbus_max_version", options->vmbus_max_version,
		"kvm_fd", add_fd(table, files->kvm));

	if (!config)
		return NULL;
	json_object_set_new(
		config, "memory_room",
		json_integer((json_int_t)(options->memory.maximum - options->memory.startup)));
	json_object_set_new(config, "cold_discard", json_boolean(options->memory.reporting));
	add_start(config, table, options, files);
	if (options->faults)
		json_object_set_new(config, "faults", text_json(options->faults));
	if (traces->vmbus >= 0)
		json_object_set_new(config, "trace_fd", json_integer(add_fd(table, traces->vmbus)));
	if (saved->state >= 0)
		json_object_set_new(config, "saved",
				    json_pack("{s:i, s:i}", "state_fd", add_fd(table, saved->state),
					      "memory_fd", add_fd(table, saved->memory)));
	json_object_set_new(
		config, "devices",
		devices(table, options, files, nics, remotes, display, console, traces));
	return config;
}

int run_config_send(struct json_link *link, const struct run_options *options,
		    const struct vm_files *files, const struct nics *nics,
		    const struct remote_disks *remotes, const struct display *display,
		    const struct console *console, const struct trace_files *traces,
		    const struct saved_state_files *saved, struct error *err)
{
	struct fd_table table = {.count = 0};
	json_t *config = configuration(&table, options, files, nics, remotes, display, console,
				       traces, saved);
	int r;

	if (!config)
		return error_set(err, EINVAL, "--append must be UTF-8 text");
	if (table.count > PROTOCOL_FDS_MAX) {
		json_decref(config);
		return error_set(err, E2BIG,
				 "the VM has too many disks and NICs at its start; attach some of "
				 "them when it runs");
	}
	r = json_link_send(link, config, table.fds, table.count);
	if (!r)
		r = json_link_drain(link, SEND_TIMEOUT_MS);
	json_decref(config);
	if (r)
		return error_set(err, -r, "the worker does not take its configuration: %s; %s",
				 strerror(-r), error_remedy(-r, worker_remedy()));
	return 0;
}

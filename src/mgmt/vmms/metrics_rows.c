#include "mgmt/vmms/metrics_rows.h"

#include <stdio.h>
#include <string.h>

#include "base/checked.h"
#include "mgmt/controller.h"
#include "mgmt/vmms/metrics_latency.h"
#include "mgmt/vmms/settings.h"
#include "mgmt/vmms/vm.h"
#include "mgmt/vmms/vm_run.h"

#define LABELS_MAX 4 /* with the end */
#define KEY_MAX	   32
#define EVENTS_MAX 96 /* kinds of KVM's counts */

/* A worker's tree is not trusted: what is no number, or below 0, is left out. */
static bool find_count(const json_t *node, const char *key, uint64_t *value)
{
	const json_t *found = json_object_get(node, key);

	if (!json_is_integer(found) || json_integer_value(found) < 0)
		return false;
	*value = (uint64_t)json_integer_value(found);
	return true;
}

static const json_t *device(const struct metrics_vm *vm, const char *name)
{
	return json_object_get(json_object_get(vm->tree, "devices"), name);
}

static const char *text_of(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "";
}

static void write_count(struct metrics_text *text, const struct metrics_vm *vm, uint64_t value)
{
	const struct metrics_label labels[] = {{"vm", vm_name(vm->vm)}, {NULL, NULL}};

	metrics_count(text, labels, value);
}

static void write_number(struct metrics_text *text, const struct metrics_vm *vm, double value)
{
	const struct metrics_label labels[] = {{"vm", vm_name(vm->vm)}, {NULL, NULL}};

	metrics_number(text, labels, value);
}

/* With one label more. */
static void write_part(struct metrics_text *text, const struct metrics_vm *vm, const char *label,
		       const char *part, uint64_t value)
{
	const struct metrics_label labels[] = {
		{"vm", vm_name(vm->vm)}, {label, part}, {NULL, NULL}};

	metrics_count(text, labels, value);
}

static void write_info(struct metrics_text *text, const struct metrics_vm *vm,
		       const struct metrics_row *row)
{
	write_part(text, vm, "uuid", vm_uuid(vm->vm), 1);
}

static void write_state(struct metrics_text *text, const struct metrics_vm *vm,
			const struct metrics_row *row)
{
	for (unsigned int state = 0; state < VM_STATE_COUNT; state++)
		write_part(text, vm, "state", vm_state_name((enum vm_state)state),
			   state == vm->vm->state);
}

static void write_up(struct metrics_text *text, const struct metrics_vm *vm,
		     const struct metrics_row *row)
{
	if (vm_state_is_live(vm->vm->state))
		write_count(text, vm, vm->tree != NULL);
}

static void write_start(struct metrics_text *text, const struct metrics_vm *vm,
			const struct metrics_row *row)
{
	if (vm->vm->run)
		write_number(text, vm, (double)vm->vm->run->started_us / 1e6);
}

static void write_processors(struct metrics_text *text, const struct metrics_vm *vm,
			     const struct metrics_row *row)
{
	write_count(text, vm, settings_processors(vm->settings));
}

static void write_startup(struct metrics_text *text, const struct metrics_vm *vm,
			  const struct metrics_row *row)
{
	write_count(text, vm, settings_memory(vm->settings));
}

static void write_cpu(struct metrics_text *text, const struct metrics_vm *vm,
		      const struct metrics_row *row)
{
	if (vm->has_usage)
		write_number(text, vm, vm->usage.cpu_seconds);
}

static void write_resident(struct metrics_text *text, const struct metrics_vm *vm,
			   const struct metrics_row *row)
{
	if (vm->has_usage)
		write_count(text, vm, vm->usage.resident_bytes);
}

static const json_t *virtual_processor(const struct metrics_vm *vm, unsigned int index)
{
	char key[KEY_MAX];

	snprintf(key, sizeof(key), "vp@%x", index);
	return json_object_get(json_object_get(vm->tree, "exits"), key);
}

static void write_vp_cpu(struct metrics_text *text, const struct metrics_vm *vm,
			 const struct metrics_row *row)
{
	for (unsigned int i = 0; i < settings_processors(vm->settings); i++) {
		char number[KEY_MAX];
		const struct metrics_label labels[] = {
			{"vm", vm_name(vm->vm)}, {"vp", number}, {NULL, NULL}};
		uint64_t ns;

		snprintf(number, sizeof(number), "%u", i);
		if (find_count(virtual_processor(vm, i), "runtime-ns", &ns))
			metrics_number(text, labels, (double)ns / 1e9);
	}
}

/* A kind of count as a label has it; KVM's own names are of these letters. */
static bool is_plain(const char *name)
{
	size_t length = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_-");

	return length > 0 && length < KEY_MAX && !name[length];
}

static uint64_t sum_processors(const struct metrics_vm *vm, const char *node, const char *key)
{
	uint64_t sum = 0;

	for (unsigned int i = 0; i < settings_processors(vm->settings); i++) {
		const json_t *from = virtual_processor(vm, i);
		uint64_t count;

		if (find_count(node ? json_object_get(from, node) : from, key, &count))
			sum += count;
	}
	return sum;
}

/* Exits that the worker handled, by kind. */
static void write_worker_exits(struct metrics_text *text, const struct metrics_vm *vm,
			       const struct metrics_row *row)
{
	static const char *const kinds[] = {"port",	 "mmio", "msr-read", "msr-write",
					    "hypercall", "halt", "other",    "interrupted"};
	uint64_t count;

	for (size_t i = 0; i < ARRAY_LENGTH(kinds); i++) {
		if (find_count(virtual_processor(vm, 0), kinds[i], &count))
			write_part(text, vm, "kind", kinds[i], sum_processors(vm, NULL, kinds[i]));
	}
}

static const json_t *kvm_counts(const struct metrics_vm *vm)
{
	return json_object_get(virtual_processor(vm, 0), "kvm");
}

static void write_exits(struct metrics_text *text, const struct metrics_vm *vm,
			const struct metrics_row *row)
{
	uint64_t count;

	if (find_count(kvm_counts(vm), "exits", &count))
		write_count(text, vm, sum_processors(vm, "kvm", "exits"));
}

/* The kind of exits that KVM counts under that name: "io" for io_exits. */
static bool exit_kind(const char *name, char *kind, size_t size)
{
	const char *end = strstr(name, "_exits");

	if (!end || end[strlen("_exits")])
		return false;
	snprintf(kind, size, "%.*s", (int)(end - name), name);
	return true;
}

/* What KVM counts of all virtual processors: exits by kind, or all else. */
static void write_kvm(struct metrics_text *text, const struct metrics_vm *vm,
		      const struct metrics_row *row)
{
	bool exits = !strcmp(row->key, "kind");
	unsigned int written = 0;
	char kind[KEY_MAX];
	const char *name;
	json_t *value;

	json_object_foreach((json_t *)kvm_counts(vm), name, value)
	{
		if (!is_plain(name) || !strcmp(name, "exits") || !strcmp(name, "state-version") ||
		    exit_kind(name, kind, sizeof(kind)) != exits || ++written > EVENTS_MAX)
			continue;
		write_part(text, vm, row->key, exits ? kind : name,
			   sum_processors(vm, "kvm", name));
	}
}

static void write_memory(struct metrics_text *text, const struct metrics_vm *vm,
			 const struct metrics_row *row)
{
	uint64_t bytes;

	if (find_count(device(vm, "memory"), row->key, &bytes))
		write_count(text, vm, bytes);
}

/* What the guest itself reports, where it does. */
static void write_reported(struct metrics_text *text, const struct metrics_vm *vm,
			   const struct metrics_row *row)
{
	uint64_t reports;

	if (find_count(device(vm, "memory"), "reports", &reports) && reports)
		write_memory(text, vm, row);
}

/* A disk's node, by its place in the settings. */
static const json_t *scsi_node(const struct metrics_vm *vm, const json_t *disk)
{
	unsigned int number = settings_disk_controller(disk);
	char controller[CONTROLLER_ID_SIZE], name[KEY_MAX], key[KEY_MAX];

	controller_id(number, controller);
	snprintf(name, sizeof(name), number ? "scsi@%s" : "%s", controller);
	snprintf(key, sizeof(key), "lun@%" JSON_INTEGER_FORMAT,
		 json_integer_value(json_object_get(disk, "lun")));
	return json_object_get(device(vm, name), key);
}

/* The same of the at-th disk or drive, which is on the IDE controller. */
static const json_t *ide_node(const struct metrics_vm *vm, size_t at)
{
	const json_t *disks = settings_disks(vm->settings);
	unsigned int place = 0;
	char key[KEY_MAX];

	for (size_t i = 0; i < at; i++) {
		const json_t *disk = json_array_get(disks, i);

		place += !json_object_get(disk, "lun") &&
			 strcmp(text_of(disk, "kind"), "floppy") != 0;
	}
	snprintf(key, sizeof(key), "lun@%u", place);
	return json_object_get(device(vm, "ide"), key);
}

/* No worker is trusted: a sum stands still at its largest. */
static void add_count(json_t *sum, const json_t *value)
{
	json_int_t total;

	if (__builtin_add_overflow(json_integer_value(sum), json_integer_value(value), &total))
		total = INT64_MAX;
	json_integer_set(sum, total);
}

/* Adds the counts in one node to those of another; how large the disk is, both know. */
static void add_counts(json_t *sum, const json_t *node)
{
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)node, key, value)
	{
		json_t *own = json_object_get(sum, key);

		if (!strcmp(key, "bytes"))
			continue;
		if (json_is_integer(value) && json_is_integer(own))
			add_count(own, value);
		else if (json_is_object(value) && json_is_object(own))
			add_counts(own, value);
		else if (!own)
			json_object_set(sum, key, value);
	}
}

/* What the at-th disk counts, a new object; NULL: nothing.  One on IDE is reached by the emulated
 * controller and then by the guest's own driver, and what both do is its own. */
static json_t *disk_node(const struct metrics_vm *vm, size_t at)
{
	const json_t *disk = json_array_get(settings_disks(vm->settings), at);
	const json_t *unit, *offered;
	json_t *sum;

	if (json_object_get(disk, "lun"))
		return json_incref((json_t *)scsi_node(vm, disk));
	if (!strcmp(text_of(disk, "kind"), "floppy"))
		return NULL;
	unit = ide_node(vm, at);
	offered = json_object_get(json_object_get(unit, "offered"), "lun@0");
	sum = json_deep_copy(unit);
	if (sum && offered)
		add_counts(sum, offered);
	return sum;
}

static void write_disks(struct metrics_text *text, const struct metrics_vm *vm,
			const struct metrics_row *row)
{
	json_t *disk;
	size_t i;
	uint64_t count;

	json_array_foreach((json_t *)settings_disks(vm->settings), i, disk)
	{
		json_t *node = disk_node(vm, i);

		if (find_count(node, row->key, &count))
			write_part(text, vm, "disk", text_of(disk, "name"), count);
		json_decref(node);
	}
}

static void write_disk_latency(struct metrics_text *text, const struct metrics_vm *vm,
			       const struct metrics_row *row)
{
	static const char *const operations[] = {"read", "write", "flush"};
	char key[KEY_MAX];
	json_t *disk;
	size_t i;

	json_array_foreach((json_t *)settings_disks(vm->settings), i, disk)
	{
		json_t *node = disk_node(vm, i);

		for (size_t j = 0; j < ARRAY_LENGTH(operations); j++) {
			const struct metrics_label labels[] = {{"vm", vm_name(vm->vm)},
							       {"disk", text_of(disk, "name")},
							       {"operation", operations[j]},
							       {NULL, NULL}};

			snprintf(key, sizeof(key), "%s-latency", operations[j]);
			metrics_latency(text, labels, json_object_get(node, key));
		}
		json_decref(node);
	}
}

/* A NIC's node, by its address in the settings. */
static const json_t *nic_node(const struct metrics_vm *vm, const json_t *nic)
{
	const char *mac = text_of(nic, "mac");
	const char *key;
	json_t *node;

	json_object_foreach(json_object_get(vm->tree, "devices"), key, node)
	{
		if (!strncmp(key, "netvsp@", 7) && !strcmp(text_of(node, "mac"), mac))
			return node;
	}
	return NULL;
}

/* Over the NIC's channels or queues, as the row says. */
static bool sum_nic(const json_t *nic, const struct metrics_row *row, uint64_t *sum)
{
	size_t length = strlen(row->node);
	bool found = false;
	const char *key;
	json_t *node;
	uint64_t count;

	*sum = 0;
	json_object_foreach((json_t *)nic, key, node)
	{
		if (strncmp(key, row->node, length) != 0 || !find_count(node, row->key, &count))
			continue;
		*sum += count;
		found = true;
	}
	return found;
}

static void write_nics(struct metrics_text *text, const struct metrics_vm *vm,
		       const struct metrics_row *row)
{
	json_t *nic;
	size_t i;
	uint64_t count;

	json_array_foreach((json_t *)settings_nics(vm->settings), i, nic)
	{
		const json_t *node = nic_node(vm, nic);

		if (row->node ? sum_nic(node, row, &count) : find_count(node, row->key, &count))
			write_part(text, vm, "nic", text_of(nic, "name"), count);
	}
}

static void write_nic_latency(struct metrics_text *text, const struct metrics_vm *vm,
			      const struct metrics_row *row)
{
	json_t *nic;
	size_t i;

	json_array_foreach((json_t *)settings_nics(vm->settings), i, nic)
	{
		const struct metrics_label labels[] = {
			{"vm", vm_name(vm->vm)}, {"nic", text_of(nic, "name")}, {NULL, NULL}};

		metrics_latency(text, labels, json_object_get(nic_node(vm, nic), row->key));
	}
}

static const json_t *service(const struct metrics_vm *vm, const char *name)
{
	return json_object_get(device(vm, "integration"), name);
}

static void write_heartbeat(struct metrics_text *text, const struct metrics_vm *vm,
			    const struct metrics_row *row)
{
	static const char *const states[][2] = {{"ok", "ok"},
						{"no_contact", "no contact"},
						{"lost_communication", "lost communication"}};
	const json_t *heartbeat = service(vm, "heartbeat");

	for (size_t i = 0; heartbeat && i < ARRAY_LENGTH(states); i++)
		write_part(text, vm, "state", states[i][0],
			   !strcmp(text_of(heartbeat, "heartbeat"), states[i][1]));
}

static void write_beats(struct metrics_text *text, const struct metrics_vm *vm,
			const struct metrics_row *row)
{
	uint64_t count;

	if (find_count(service(vm, "heartbeat"), row->key, &count))
		write_count(text, vm, count);
}

static void write_services(struct metrics_text *text, const struct metrics_vm *vm,
			   const struct metrics_row *row)
{
	static const char *const names[] = {"shutdown", "timesync", "heartbeat",
					    "kvp",	"vss",	    "file-copy"};

	for (size_t i = 0; i < ARRAY_LENGTH(names); i++) {
		const json_t *node = service(vm, names[i]);

		if (node)
			write_part(text, vm, "service", names[i],
				   !strcmp(text_of(node, "state"), "ready"));
	}
}

/* clang-format off */
#define GAUGE(name, help, ...)     {{"bulkhead_vm_" name, METRICS_GAUGE, help}, __VA_ARGS__}
#define COUNTER(name, help, ...)   {{"bulkhead_vm_" name "_total", METRICS_COUNTER, help}, __VA_ARGS__}
#define HISTOGRAM(name, help, ...) {{"bulkhead_vm_" name, METRICS_HISTOGRAM, help}, __VA_ARGS__}

const struct metrics_row metrics_rows[] = {
	GAUGE("info", "Always 1; the VM's UUID.", write_info),
	GAUGE("state", "1 for the state that the VM is in, 0 for the others.", write_state),
	GAUGE("up", "Of a VM that runs: whether it told its figures in time.", write_up),
	GAUGE("start_time_seconds", "When the VM was started, since 1970.", write_start),
	GAUGE("processors", "Virtual processors.", write_processors),
	GAUGE("memory_startup_bytes", "Memory that it starts with.", write_startup),
	COUNTER("cpu_seconds", "Processor time of the VM's worker, guest and I/O.", write_cpu),
	GAUGE("resident_bytes", "Memory of the host that the VM's worker has.", write_resident),
	COUNTER("vp_cpu_seconds", "Processor time of each virtual processor's thread.", write_vp_cpu),
	COUNTER("exits", "Exits of the guest, of which KVM handles most by itself.", write_exits),
	COUNTER("exits_by_kind", "Those that KVM counts by kind.", write_kvm, NULL, "kind"),
	COUNTER("worker_exits", "Exits that the worker handled, by kind.", write_worker_exits),
	COUNTER("kvm_events", "What else KVM counts of virtual processors.", write_kvm, NULL, "event"),
	GAUGE("memory_assigned_bytes", "Memory that the guest has now.", write_memory, NULL, "assigned"),
	GAUGE("memory_held_bytes", "That of it which the host has given.", write_memory, NULL, "held"),
	GAUGE("memory_target_bytes", "What it shall have.", write_memory, NULL, "target"),
	GAUGE("memory_minimum_bytes", "The least that it may have.", write_memory, NULL, "minimum"),
	GAUGE("memory_maximum_bytes", "The most that it may have.", write_memory, NULL, "maximum"),
	GAUGE("memory_demanded_bytes", "What the guest has committed itself to, as it reports.", write_reported, NULL, "committed"),
	GAUGE("memory_available_bytes", "What the guest has left, as it reports.", write_reported, NULL, "available"),
	COUNTER("disk_reads", "Reads.", write_disks, NULL, "reads"),
	COUNTER("disk_read_bytes", "Bytes read.", write_disks, NULL, "bytes-read"),
	COUNTER("disk_writes", "Writes.", write_disks, NULL, "writes"),
	COUNTER("disk_written_bytes", "Bytes written.", write_disks, NULL, "bytes-written"),
	COUNTER("disk_flushes", "Flushes.", write_disks, NULL, "flushes"),
	COUNTER("disk_errors", "Commands that failed.", write_disks, NULL, "errors"),
	COUNTER("disk_limit_waits", "Requests that waited for the disk's limits.", write_disks, NULL, "limit-waits"),
	GAUGE("disk_size_bytes", "Size of the disk as the guest sees it.", write_disks, NULL, "bytes"),
	HISTOGRAM("disk_latency_seconds", "From the guest's request to the answer.", write_disk_latency),
	COUNTER("nic_sent_frames", "Frames from the guest.", write_nics, "channel@", "frames-sent"),
	COUNTER("nic_sent_bytes", "Bytes of them.", write_nics, "channel@", "bytes-sent"),
	COUNTER("nic_sent_dropped", "Frames from the guest that the host did not take.", write_nics, "channel@", "frames-not-sent"),
	COUNTER("nic_received_frames", "Frames to the guest.", write_nics, "channel@", "frames-received"),
	COUNTER("nic_received_bytes", "Bytes of them.", write_nics, "channel@", "bytes-received"),
	COUNTER("nic_no_buffer", "Times that the guest had no room for frames.", write_nics, "queue@", "no-buffer"),
	COUNTER("nic_limit_waits", "Times that frames waited for the NIC's limit.", write_nics, "queue@", "limit-waits"),
	GAUGE("nic_link_up", "Whether the NIC has a link.", write_nics, NULL, "link-up"),
	HISTOGRAM("nic_send_latency_seconds", "From the guest's frame to when the host took it.", write_nic_latency, NULL, "send-latency"),
	GAUGE("heartbeat", "1 for the state that the guest's heartbeat is in.", write_heartbeat),
	COUNTER("heartbeat_beats", "Beats that the guest answered.", write_beats, NULL, "beats"),
	COUNTER("heartbeat_lost", "Beats that it did not answer in time.", write_beats, NULL, "lost"),
	GAUGE("service_ready", "Whether the guest serves the integration service.", write_services),
};
/* clang-format on */

const size_t metrics_row_count = ARRAY_LENGTH(metrics_rows);

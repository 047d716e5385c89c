#include "mgmt/vmms/metrics.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/checked.h"
#include "mgmt/vmms/figures.h"
#include "mgmt/vmms/metrics_rows.h"
#include "mgmt/vmms/vm.h"
#include "mgmt/vmms/vm_run.h"
#include "mgmt/vmms/vmms.h"

struct page {
	struct metrics_text *text;
	const struct vmms *vmms;
	struct metrics_vm *vms;
	size_t vm_count;
};

static void write_build(struct page *page)
{
	const struct metrics_label labels[] = {{"version", BULKHEAD_VERSION}, {NULL, NULL}};

	metrics_count(page->text, labels, 1);
}

static void write_start(struct page *page)
{
	metrics_number(page->text, NULL, (double)page->vmms->started_us / 1e6);
}

static void write_cpu(struct page *page)
{
	struct process_usage usage;

	if (!process_usage_read(getpid(), &usage))
		metrics_number(page->text, NULL, usage.cpu_seconds);
}

static void write_processors(struct page *page)
{
	metrics_number(page->text, NULL, (double)sysconf(_SC_NPROCESSORS_ONLN));
}

static void write_memory(struct page *page)
{
	metrics_number(page->text, NULL,
		       (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGESIZE));
}

static void write_vms(struct page *page)
{
	uint64_t counts[VM_STATE_COUNT] = {0};

	for (size_t i = 0; i < page->vm_count; i++)
		counts[page->vms[i].vm->state]++;
	for (unsigned int state = 0; state < VM_STATE_COUNT; state++) {
		const struct metrics_label labels[] = {
			{"state", vm_state_name((enum vm_state)state)}, {NULL, NULL}};

		metrics_count(page->text, labels, counts[state]);
	}
}

static const struct {
	struct metrics_family family;
	void (*write)(struct page *page);
} host_rows[] = {
	{{"bulkhead_build_info", METRICS_GAUGE, "Always 1; the daemon's version."}, write_build},
	{{"bulkhead_start_time_seconds", METRICS_GAUGE, "When the daemon began, since 1970."},
	 write_start},
	{{"bulkhead_cpu_seconds_total", METRICS_COUNTER, "Processor time of the daemon itself."},
	 write_cpu},
	{{"bulkhead_host_processors", METRICS_GAUGE, "Processors of the host."}, write_processors},
	{{"bulkhead_host_memory_bytes", METRICS_GAUGE, "Memory of the host."}, write_memory},
	{{"bulkhead_vms", METRICS_GAUGE, "VMs that are defined, by their states."}, write_vms},
};

static void add_vm(struct page *page, const struct vm *vm)
{
	struct metrics_vm *entry = &page->vms[page->vm_count++];

	entry->vm = vm;
	entry->settings = vm->launched ? vm->launched : vm->settings;
	entry->tree = figures_of(page->vmms->figures, vm->run);
	entry->has_usage =
		vm->run && vm->run->worker && !process_usage_read(vm->run->worker, &entry->usage);
}

static int add_vms(struct page *page)
{
	const struct vm *vm;

	page->vms = calloc(page->vmms->table.count + 1, sizeof(*page->vms));
	if (!page->vms)
		return -ENOMEM;
	vm_table_for_each(vm, &page->vmms->table) add_vm(page, vm);
	return 0;
}

static void write_page(struct page *page)
{
	for (size_t i = 0; i < ARRAY_LENGTH(host_rows); i++) {
		metrics_begin(page->text, &host_rows[i].family);
		host_rows[i].write(page);
	}
	for (size_t i = 0; i < metrics_row_count; i++) {
		const struct metrics_row *row = &metrics_rows[i];

		metrics_begin(page->text, &row->family);
		for (size_t j = 0; j < page->vm_count; j++)
			row->write(page->text, &page->vms[j], row);
	}
}

int metrics_write(const struct vmms *vmms, char **text, size_t *size)
{
	struct page page = {.text = metrics_text_new(), .vmms = vmms};
	int r = page.text ? add_vms(&page) : -ENOMEM;

	if (r) {
		metrics_text_free(page.text);
		return r;
	}
	write_page(&page);
	free(page.vms);
	return metrics_text_finish(page.text, text, size);
}

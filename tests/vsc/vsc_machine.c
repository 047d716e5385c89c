#include "vsc_machine.h"

#include <sched.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/hv_tlfs.h"

#define RAM_BYTES   (64ull << 20)
#define VECTOR	    0xf3u
#define GUEST_OS_ID 0x8100060c00000000ull
#define SPINS	    2000u
#define SLEEP_NS    20000

void vsc_fail(const char *sentence)
{
	fprintf(stderr, "vsc: %s\n", sentence);
	abort();
}

void vsc_pause(struct vsc_wait *wait, const char *sentence)
{
	struct timespec now, nap = {.tv_nsec = SLEEP_NS};

	if (wait->turns == 0)
		clock_gettime(CLOCK_MONOTONIC, &wait->start);
	if (wait->turns++ < SPINS) {
		sched_yield();
		return;
	}
	clock_gettime(CLOCK_MONOTONIC, &now);
	if (now.tv_sec - wait->start.tv_sec > VSC_TIMEOUT_S)
		vsc_fail(sentence);
	nanosleep(&nap, NULL);
}

static bool long_mode(void *context, unsigned int vp_index)
{
	return true;
}

static void *run_loop(void *context)
{
	struct vsc *vsc = context;

	event_loop_run(vsc->loop);
	return NULL;
}

static void expect(int r, const char *sentence)
{
	if (r)
		vsc_fail(sentence);
}

static void say_running(void *context)
{
	sem_post(context);
}

/* Until the loop runs, what is called on it would run here, beside what the loop does by itself. */
static void await_loop(struct event_loop *loop)
{
	sem_t running;

	sem_init(&running, 0, 0);
	expect(event_loop_post(loop, say_running, &running), "no memory");
	while (sem_wait(&running) < 0)
		;
	sem_destroy(&running);
}

static void new_bus(void *context)
{
	struct vsc *vsc = context;
	const struct vmbus_config config = {
		.gpa = vsc->gpa,
		.hv = vsc->hv,
		.loop = vsc->loop,
		.vp_count = vsc->config.vp_count,
		.max_version = vsc->config.max_version,
	};

	expect(vmbus_new(&config, &vsc->bus), "no bus");
}

static void free_bus(void *context)
{
	struct vsc *vsc = context;

	vmbus_free(vsc->bus);
	vsc->bus = NULL;
}

static void renew_bus(void *context)
{
	free_bus(context);
	new_bus(context);
}

static void write_msr(struct vsc *vsc, unsigned int vp, uint32_t msr, uint64_t value)
{
	if (!hv_msr_write(hv_partition_vp(vsc->hv, vp), msr, value))
		vsc_fail("an MSR write ended in #GP");
}

static void enable_vp(struct vsc *vsc, unsigned int vp)
{
	vsc->simp[vp] = vsc_pages(vsc, 1);
	vsc->siefp[vp] = vsc_pages(vsc, 1);
	write_msr(vsc, vp, HV_MSR_SIMP, vsc->simp[vp] | 1);
	write_msr(vsc, vp, HV_MSR_SIEFP, vsc->siefp[vp] | 1);
	for (unsigned int sint = 0; sint < 16; sint++)
		write_msr(vsc, vp, HV_MSR_SINT0 + sint, VECTOR);
	write_msr(vsc, vp, HV_MSR_SCONTROL, 1);
}

/* What a guest does early: hypercalls, then each VP's SynIC. */
static void enable_guest(struct vsc *vsc)
{
	write_msr(vsc, 0, HV_MSR_GUEST_OS_ID, GUEST_OS_ID);
	write_msr(vsc, 0, HV_MSR_HYPERCALL, vsc_pages(vsc, 1) | 1);
	vsc->input_page = vsc_pages(vsc, 1);
	for (unsigned int vp = 0; vp < vsc->config.vp_count; vp++)
		enable_vp(vsc, vp);
}

static void new_hv(struct vsc *vsc)
{
	static const struct hv_events events = {.long_mode = long_mode};
	struct hv_config config = {
		.gpa = vsc->gpa,
		.vp_count = vsc->config.vp_count,
		.tsc_hz = 1000000000,
		.apic_hz = 1000000000,
		.events = &events,
		.context = vsc,
	};

	expect(irq_controller_new(NULL, &vsc->irq), "no interrupts");
	expect(io_bus_new(IO_PORT, NULL, &vsc->ports), "no port bus");
	config.irq = vsc->irq;
	config.ports = vsc->ports;
	expect(hv_partition_new(&config, &vsc->hv, NULL), "no Hyper-V interface");
	hv_partition_resume(vsc->hv);
}

struct vsc *vsc_new(const struct vsc_config *config)
{
	struct vsc *vsc = calloc(1, sizeof(*vsc));

	if (!vsc)
		vsc_fail("no memory");
	if (config)
		vsc->config = *config;
	if (!vsc->config.ram_bytes)
		vsc->config.ram_bytes = RAM_BYTES;
	if (!vsc->config.vp_count)
		vsc->config.vp_count = 1;
	if (!vsc->config.max_version)
		vsc->config.max_version = VMBUS_VERSION_WIN10_V5_3;
	vsc->simp = calloc(vsc->config.vp_count, sizeof(uint64_t));
	vsc->siefp = calloc(vsc->config.vp_count, sizeof(uint64_t));
	vsc->next_page = 1;
	vsc->next_gpadl = 0xe1e10;
	expect(gpa_space_new_with_room(vsc->config.ram_bytes, vsc->config.ram_room, &vsc->gpa,
				       NULL),
	       "no guest memory");
	new_hv(vsc);
	expect(event_loop_new(&vsc->loop), "no main loop");
	new_bus(vsc);
	enable_guest(vsc);
	expect(pthread_create(&vsc->loop_thread, NULL, run_loop, vsc), "no thread");
	await_loop(vsc->loop);
	return vsc;
}

void vsc_free(struct vsc *vsc)
{
	vsc_main(vsc, free_bus, vsc);
	event_loop_stop(vsc->loop, 0);
	pthread_join(vsc->loop_thread, NULL);
	event_loop_free(vsc->loop);
	hv_partition_free(vsc->hv);
	irq_controller_free(vsc->irq);
	io_bus_free(vsc->ports);
	gpa_space_free(vsc->gpa);
	free(vsc->simp);
	free(vsc->siefp);
	free(vsc);
}

void vsc_renew_bus(struct vsc *vsc)
{
	vsc_main(vsc, renew_bus, vsc);
}

struct vmbus *vsc_vmbus(struct vsc *vsc)
{
	return vsc->bus;
}

struct gpa_space *vsc_gpa(struct vsc *vsc)
{
	return vsc->gpa;
}

struct hv_partition *vsc_hv(struct vsc *vsc)
{
	return vsc->hv;
}

struct event_loop *vsc_loop(struct vsc *vsc)
{
	return vsc->loop;
}

void vsc_main(struct vsc *vsc, void (*function)(void *context), void *context)
{
	event_loop_call(vsc->loop, function, context);
}

struct offer_call {
	struct vmbus *bus;
	const struct vmbus_offer_config *config;
	struct vmbus_offer *offer;
};

static void offer_new(void *context)
{
	struct offer_call *call = context;

	expect(vmbus_offer_new(call->bus, call->config, &call->offer), "the offer was refused");
}

static void offer_rescind(void *context)
{
	vmbus_offer_rescind(context);
}

struct vmbus_offer *vsc_offer_new(struct vsc *vsc, const struct vmbus_offer_config *config)
{
	struct offer_call call = {.bus = vsc->bus, .config = config};

	vsc_main(vsc, offer_new, &call);
	return call.offer;
}

void vsc_offer_rescind(struct vsc *vsc, struct vmbus_offer *offer)
{
	vsc_main(vsc, offer_rescind, offer);
}

uint64_t vsc_pages(struct vsc *vsc, uint32_t count)
{
	uint64_t gpa = vsc->next_page * VMBUS_PAGE_SIZE;

	if (gpa_fill(vsc->gpa, gpa, 0, (size_t)count * VMBUS_PAGE_SIZE))
		vsc_fail("the guest has no memory left");
	vsc->next_page += count;
	return gpa;
}

uint64_t vsc_pages_mark(const struct vsc *vsc)
{
	return vsc->next_page;
}

void vsc_pages_release(struct vsc *vsc, uint64_t mark)
{
	vsc->next_page = mark;
}

void *vsc_pointer(struct vsc *vsc, uint64_t gpa, size_t bytes)
{
	void *pointer = gpa_pointer(vsc->gpa, gpa, bytes, GPA_WRITE);

	if (!pointer)
		vsc_fail("no such guest memory");
	return pointer;
}

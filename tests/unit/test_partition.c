#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>
#include <x86intrin.h>

#include "base/checked.h"
#include "suite.h"
#include "vmm/hv_ports.h"
#include "vmm/machine.h"
#include "vmm/partition.h"

#define CODE	     0x8000u
#define TABLES	     0x10000u
#define RAM	     (4u << 20)
#define PORT_OUT     0x500
#define PORT_IN	     0x508
#define WAIT_SECONDS 60

/* One partition, and what its guest and KVM told us. */
struct fixture {
	struct partition *partition;
	sem_t told; /* posted at each thing that the fields below keep */
	uint32_t out;
	uint32_t in;
	uint32_t reads;
	int resets;
	char failure[256];
};

static int kvm_fd = -1;

static void on_reset(void *context)
{
	struct fixture *f = context;

	f->resets++;
	sem_post(&f->told);
}

static void on_crash(void *context, const struct hv_crash *crash)
{
}

static void on_failed(void *context, const char *sentence)
{
	struct fixture *f = context;

	snprintf(f->failure, sizeof(f->failure), "%s", sentence);
	sem_post(&f->told);
}

static const struct partition_events events = {
	.reset = on_reset,
	.crash = on_crash,
	.failed = on_failed,
};

static void port_out(void *context, struct io_access *access)
{
	struct fixture *f = context;

	f->out = (uint32_t)access->value;
	sem_post(&f->told);
}

static void port_in(void *context, struct io_access *access)
{
	struct fixture *f = context;

	f->reads++;
	access->value = f->in;
	sem_post(&f->told);
}

static void wait_told(struct fixture *f)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += WAIT_SECONDS;
	ck_assert_int_eq(sem_timedwait(&f->told, &until), 0);
}

static void set_up_with_room(struct fixture *f, unsigned int vp_count, uint64_t room)
{
	const struct partition_config config = {
		.kvm_fd = kvm_fd,
		.vp_count = vp_count,
		.ram_bytes = RAM,
		.ram_room = room,
		.events = &events,
		.context = f,
	};
	struct error err = {.text = ""};

	memset(f, 0, sizeof(*f));
	sem_init(&f->told, 0, 0);
	ck_assert_msg(partition_new(&config, &f->partition, &err) == 0, "%s", err.text);
	io_bus_add(partition_ports(f->partition), PORT_OUT, 4, port_out, f);
	io_bus_add(partition_ports(f->partition), PORT_IN, 4, port_in, f);
}

static void set_up(struct fixture *f, unsigned int vp_count)
{
	set_up_with_room(f, vp_count, 0);
}

static void load(struct fixture *f, const void *code, size_t size, enum boot_mode mode)
{
	struct boot_registers registers = {
		.mode = mode,
		.rip = CODE,
		.rsp = CODE,
		.rax = 0x11,
		.rbx = 0x22,
		.rsi = 0x33,
		.cr3 = TABLES,
	};
	/* Identity maps the first 2 MiB. */
	const uint64_t entries[3] = {(TABLES + 0x1000) | 3, (TABLES + 0x2000) | 3, 0x83};

	for (unsigned int i = 0; i < 3; i++)
		gpa_write(partition_gpa(f->partition), TABLES + i * 0x1000, &entries[i], 8);
	ck_assert_int_eq(gpa_write(partition_gpa(f->partition), CODE, code, size), 0);
	ck_assert_int_eq(partition_set_boot(f->partition, &registers), 0);
}

static void start(struct fixture *f)
{
	struct error err = {.text = ""};

	ck_assert_msg(partition_start(f->partition, NULL, NULL, &err) == 0, "%s", err.text);
	ck_assert_msg(partition_await(f->partition, &err) == 0, "%s", err.text);
	ck_assert(partition_paused(f->partition));
	partition_resume(f->partition);
}

static void tear_down(struct fixture *f)
{
	partition_free(f->partition);
	sem_destroy(&f->told);
}

/* mov dx, PORT_OUT; add eax, ebx; add eax, esi; out dx, eax; jmp . */
static const uint8_t sum_code[] = {0x66, 0xba, 0x00, 0x05, 0x01, 0xd8,
				   0x01, 0xf0, 0xef, 0xeb, 0xfe};
/* The same, but with 64-bit registers and RAX's upper half in the answer. */
static const uint8_t sum_code_64[] = {0x66, 0xba, 0x00, 0x05, 0x48, 0x01, 0xd8,
				      0x48, 0x01, 0xf0, 0x48, 0xc1, 0xe0, 0x20,
				      0x48, 0xc1, 0xe8, 0x1f, 0xef, 0xeb, 0xfe};

START_TEST(protected_mode)
{
	struct fixture f;

	set_up(&f, 1);
	load(&f, sum_code, sizeof(sum_code), BOOT_PROTECTED_MODE);
	start(&f);
	wait_told(&f);
	ck_assert_str_eq(f.failure, "");
	ck_assert_uint_eq(f.out, 0x66);
	ck_assert_uint_eq(partition_exits(f.partition, 0, VP_EXIT_PORT), 1);
	tear_down(&f);
}
END_TEST

START_TEST(long_mode)
{
	struct fixture f;

	set_up(&f, 1);
	load(&f, sum_code_64, sizeof(sum_code_64), BOOT_LONG_MODE);
	start(&f);
	wait_told(&f);
	ck_assert_str_eq(f.failure, "");
	ck_assert_uint_eq(f.out, 0xcc);
	tear_down(&f);
}
END_TEST

/* The guest spins and other VPs never start: pausing must take all of them out, each time. */
START_TEST(pause_and_resume)
{
	struct fixture f;

	set_up(&f, 3);
	load(&f, sum_code, sizeof(sum_code), BOOT_PROTECTED_MODE);
	start(&f);
	for (unsigned int i = 0; i < 200; i++) {
		partition_pause(f.partition);
		ck_assert(partition_paused(f.partition));
		partition_pause(f.partition);
		partition_resume(f.partition);
		partition_resume(f.partition);
	}
	wait_told(&f);
	ck_assert_str_eq(f.failure, "");
	tear_down(&f);
}
END_TEST

/* mov dx, PORT_IN; l: in eax, dx; inc ebx; test eax, eax; jz l; mov dx, PORT_OUT; out dx, eax;
 * jmp . */
static const uint8_t poll_code[] = {0x66, 0xba, 0x08, 0x05, 0xed, 0x43, 0x85, 0xc0, 0x74,
				    0xfa, 0x66, 0xba, 0x00, 0x05, 0xef, 0xeb, 0xfe};

static void *save(struct fixture *f, size_t *size)
{
	struct state_writer *writer = state_writer_new();
	void *tree;

	ck_assert_int_eq(partition_save(f->partition, writer), 0);
	ck_assert_int_eq(state_finish(writer, &tree, size), 0);
	state_writer_free(writer);
	return tree;
}

static struct state_node saved_vp(const void *tree, size_t size)
{
	struct state_node root, partition, vp;

	ck_assert_int_eq(state_open(tree, size, &root), 0);
	ck_assert_int_eq(state_child(&root, "partition", 1, &partition), 0);
	ck_assert_int_eq(state_child(&partition, "vp@0", 1, &vp), 0);
	return vp;
}

static uint64_t saved_register(const void *tree, size_t size, const char *name)
{
	struct state_node vp = saved_vp(tree, size);
	uint64_t value;

	ck_assert_int_eq(state_get_u64(&vp, name, &value), 0);
	return value;
}

/* Where the VP is in poll_code: on the IN only if every read we answered was taken and counted. */
static void check_reads(const struct fixture *f, const void *tree, size_t size)
{
	uint64_t counted = saved_register(tree, size, "rbx") - 0x22;
	uint64_t rip = saved_register(tree, size, "rip");

	ck_assert_uint_eq(counted, rip == CODE + 5 ? f->reads - 1 : f->reads);
}

START_TEST(pausing_completes_reads)
{
	struct fixture f;

	set_up(&f, 1);
	load(&f, poll_code, sizeof(poll_code), BOOT_PROTECTED_MODE);
	start(&f);
	for (unsigned int i = 0; i < 50; i++) {
		size_t size;
		void *tree;

		wait_told(&f);
		partition_pause(f.partition);
		tree = save(&f, &size);
		check_reads(&f, tree, size);
		free(tree);
		partition_resume(f.partition);
	}
	tear_down(&f);
}
END_TEST

/* A read that the pause cut short is complete in the saved state, and the copy goes on from it. */
START_TEST(save_and_restore)
{
	struct fixture a, b;
	struct state_node root;
	size_t size, again_size;
	void *tree, *again;

	set_up(&a, 2);
	load(&a, poll_code, sizeof(poll_code), BOOT_PROTECTED_MODE);
	start(&a);
	wait_told(&a);
	partition_pause(a.partition);
	tree = save(&a, &size);
	check_reads(&a, tree, size);

	set_up(&b, 2);
	load(&b, poll_code, sizeof(poll_code), BOOT_PROTECTED_MODE);
	ck_assert_int_eq(state_open(tree, size, &root), 0);
	ck_assert_int_eq(partition_restore(b.partition, &root), 0);
	again = save(&b, &again_size);
	ck_assert_uint_eq(saved_register(again, again_size, "rbx"),
			  saved_register(tree, size, "rbx"));
	b.in = 0x77;
	start(&b);
	wait_told(&b);
	wait_told(&b);
	ck_assert_str_eq(b.failure, "");
	ck_assert_uint_eq(b.out, 0x77);
	tear_down(&a);
	tear_down(&b);
	free(tree);
	free(again);
}
END_TEST

static uint64_t saved_tsc(struct fixture *f)
{
	size_t size;
	void *tree = save(f, &size);
	uint64_t tsc = saved_register(tree, size, "msr-00000010");

	free(tree);
	return tsc;
}

/* However long it takes to write what is saved, and to read it. */
START_TEST(tsc_stands_still_over_a_save)
{
	struct timespec while_writing = {.tv_nsec = 300000000};
	struct fixture a, b;
	struct state_node root;
	uint64_t before, after, began, took;
	size_t size;
	void *tree;

	set_up(&a, 2);
	load(&a, poll_code, sizeof(poll_code), BOOT_PROTECTED_MODE);
	start(&a);
	wait_told(&a);
	partition_pause(a.partition);
	before = saved_tsc(&a);
	nanosleep(&while_writing, NULL);
	tree = save(&a, &size);
	ck_assert_uint_eq(saved_register(tree, size, "msr-00000010"), before);
	set_up(&b, 2);
	load(&b, poll_code, sizeof(poll_code), BOOT_PROTECTED_MODE);
	ck_assert_int_eq(state_open(tree, size, &root), 0);
	ck_assert_int_eq(partition_restore(b.partition, &root), 0);
	ck_assert_uint_eq(saved_tsc(&b), before);
	nanosleep(&while_writing, NULL);
	began = __rdtsc();
	start(&b);
	wait_told(&b);
	partition_pause(b.partition);
	took = __rdtsc() - began;
	after = saved_tsc(&b);
	ck_assert_uint_gt(after, before);
	/* Some KVMs give every guest the host's own, which nobody can set. */
	if (before < __rdtsc() / 2)
		ck_assert_uint_le(after - before, took + took / 50);
	tear_down(&a);
	tear_down(&b);
	free(tree);
}
END_TEST

START_TEST(restore_refuses_other_shapes)
{
	struct fixture a, b;
	struct state_node root;
	size_t size;
	void *tree;

	set_up(&a, 1);
	set_up(&b, 2);
	tree = save(&a, &size);
	ck_assert_int_eq(state_open(tree, size, &root), 0);
	ck_assert_int_eq(partition_restore(b.partition, &root), -EINVAL);
	tear_down(&a);
	tear_down(&b);
	free(tree);
}
END_TEST

/* mov dx, PORT_IN; l: in eax, dx; test eax, eax; jz l; mov rbx, 4 GiB; mov dword [rbx + 16],
 * 0x1234; mov eax, [rbx + 16]; mov dx, PORT_OUT; out dx, eax; jmp . */
static const uint8_t plugged_code[] = {
	0x66, 0xba, 0x08, 0x05, 0xed, 0x85, 0xc0, 0x74, 0xfb, 0x48, 0xbb, 0x00,
	0x00, 0x00, 0x00, 0x01, 0x00, 0x00, 0x00, 0xc7, 0x43, 0x10, 0x34, 0x12,
	0x00, 0x00, 0x8b, 0x43, 0x10, 0x66, 0xba, 0x00, 0x05, 0xef, 0xeb, 0xfe,
};

#define PLUG (2u << 20)

/* Maps what is plugged in at 4 GiB, too. */
static void load_plugged_code(struct fixture *f)
{
	struct gpa_space *gpa = partition_gpa(f->partition);
	const uint64_t directory = (TABLES + 0x3000) | 3, page = MACHINE_HOLE_END | 0x83;

	load(f, plugged_code, sizeof(plugged_code), BOOT_LONG_MODE);
	gpa_write(gpa, TABLES + 0x1000 + 4 * 8, &directory, 8);
	gpa_write(gpa, TABLES + 0x3000, &page, 8);
}

static uint64_t plugged(const struct fixture *f)
{
	return gpa_plugged_bytes(partition_gpa(f->partition));
}

/* A guest that runs finds RAM where there was none; it is saved, restored, and gone by a reset. */
START_TEST(memory_is_plugged_into_a_running_guest)
{
	struct fixture a, b, without;
	struct state_node root;
	struct error err;
	uint32_t value;
	size_t size;
	void *tree;

	set_up_with_room(&a, 1, 2 * PLUG);
	load_plugged_code(&a);
	start(&a);
	wait_told(&a);
	ck_assert_int_eq(partition_plug(a.partition, PLUG), 0);
	__atomic_store_n(&a.in, 1, __ATOMIC_SEQ_CST);
	while (!__atomic_load_n(&a.out, __ATOMIC_SEQ_CST))
		wait_told(&a);
	ck_assert_str_eq(a.failure, "");
	ck_assert_uint_eq(a.out, 0x1234);
	ck_assert_int_eq(gpa_read(partition_gpa(a.partition), MACHINE_HOLE_END + 16, &value, 4), 0);
	ck_assert_uint_eq(value, 0x1234);
	ck_assert_int_eq(partition_plug(a.partition, 2 * PLUG), -ENOSPC);
	ck_assert_int_eq(partition_plug(a.partition, PLUG), 0);
	partition_pause(a.partition);
	tree = save(&a, &size);
	ck_assert_int_eq(state_open(tree, size, &root), 0);

	set_up_with_room(&b, 1, 2 * PLUG);
	ck_assert_int_eq(partition_restore(b.partition, &root), 0);
	ck_assert_uint_eq(plugged(&b), 2 * PLUG);
	set_up(&without, 1);
	ck_assert_int_eq(partition_restore(without.partition, &root), -ENOSPC);

	ck_assert_int_eq(partition_reset(a.partition, &err), 0);
	ck_assert_uint_eq(plugged(&a), 0);
	ck_assert_int_eq(gpa_read(partition_gpa(a.partition), MACHINE_HOLE_END, &value, 4),
			 -EFAULT);
	ck_assert_int_eq(partition_plug(a.partition, 2 * PLUG), 0);
	tear_down(&a);
	tear_down(&b);
	tear_down(&without);
	free(tree);
}
END_TEST

/* An undefined instruction without an IDT: a triple fault. */
static const uint8_t fault_code[] = {0x0f, 0x0b};

START_TEST(triple_fault_and_reset)
{
	struct fixture f;
	struct error err;
	uint8_t byte;

	set_up(&f, 1);
	load(&f, fault_code, sizeof(fault_code), BOOT_PROTECTED_MODE);
	start(&f);
	wait_told(&f);
	ck_assert_str_eq(f.failure, "");
	ck_assert_int_eq(f.resets, 1);
	partition_pause(f.partition);
	ck_assert_int_eq(partition_reset(f.partition, &err), 0);
	gpa_read(partition_gpa(f.partition), CODE, &byte, 1);
	ck_assert_uint_eq(byte, 0);
	load(&f, sum_code, sizeof(sum_code), BOOT_PROTECTED_MODE);
	partition_resume(f.partition);
	wait_told(&f);
	ck_assert_str_eq(f.failure, "");
	ck_assert_uint_eq(f.out, 0x66);
	ck_assert_int_eq(f.resets, 1);
	tear_down(&f);
}
END_TEST

/* mov ecx, 0xc0000102 (KERNEL_GS_BASE); mov eax, 0x1234; xor edx, edx; wrmsr;
 * mov dword [0xfee000f0], 0x1ff (the local APIC's spurious vector: on); ud2 */
static const uint8_t change_code[] = {0xb9, 0x02, 0x01, 0x00, 0xc0, 0xb8, 0x34, 0x12, 0x00,
				      0x00, 0x31, 0xd2, 0x0f, 0x30, 0xc7, 0x05, 0xf0, 0x00,
				      0xe0, 0xfe, 0xff, 0x01, 0x00, 0x00, 0x0f, 0x0b};

START_TEST(reset_is_power_on)
{
	static const char *const numbers[] = {"rip",  "rax",	      "cr0",
					      "efer", "msr-c0000102", "apic_base"};
	static const char *const blobs[] = {"lapic", "cs", "events", "xcrs"};
	struct state_node before, after;
	uint32_t first_mp_state, again_mp_state;
	size_t first_size, again_size;
	void *first, *again;
	struct fixture f;

	set_up(&f, 1);
	first = save(&f, &first_size);
	load(&f, change_code, sizeof(change_code), BOOT_PROTECTED_MODE);
	start(&f);
	wait_told(&f);
	ck_assert_int_eq(f.resets, 1);
	partition_pause(f.partition);
	again = save(&f, &again_size);
	ck_assert_uint_eq(saved_register(again, again_size, "msr-c0000102"), 0x1234);
	free(again);
	ck_assert_int_eq(partition_reset(f.partition, NULL), 0);
	again = save(&f, &again_size);
	for (size_t i = 0; i < ARRAY_LENGTH(numbers); i++)
		ck_assert_uint_eq(saved_register(first, first_size, numbers[i]),
				  saved_register(again, again_size, numbers[i]));
	before = saved_vp(first, first_size);
	after = saved_vp(again, again_size);
	ck_assert_int_eq(state_get_u32(&before, "mp-state", &first_mp_state), 0);
	ck_assert_int_eq(state_get_u32(&after, "mp-state", &again_mp_state), 0);
	ck_assert_uint_eq(first_mp_state, KVM_MP_STATE_RUNNABLE);
	ck_assert_uint_eq(again_mp_state, KVM_MP_STATE_RUNNABLE);
	for (size_t i = 0; i < ARRAY_LENGTH(blobs); i++) {
		size_t size, other;
		const void *bytes = state_find_bytes(&before, blobs[i], &size);

		ck_assert_mem_eq(bytes, state_find_bytes(&after, blobs[i], &other), size);
		ck_assert_uint_eq(size, other);
	}
	free(first);
	free(again);
	tear_down(&f);
}
END_TEST

/* mov ecx, 0x40000003 (RESET); mov eax, 1; xor edx, edx; wrmsr; mov dx, PORT_OUT; out dx, eax */
static const uint8_t reset_code[] = {0xb9, 0x03, 0x00, 0x00, 0x40, 0xb8, 0x01,
				     0x00, 0x00, 0x00, 0x31, 0xd2, 0x0f, 0x30,
				     0x66, 0xba, 0x00, 0x05, 0xef, 0xeb, 0xfe};

/* The VP stops on the write; the next run starts at the new entry, not behind it. */
START_TEST(reset_msr)
{
	struct fixture f;
	struct error err;

	set_up(&f, 1);
	load(&f, reset_code, sizeof(reset_code), BOOT_PROTECTED_MODE);
	start(&f);
	wait_told(&f);
	ck_assert_str_eq(f.failure, "");
	ck_assert_int_eq(f.resets, 1);
	partition_pause(f.partition);
	ck_assert_uint_eq(f.out, 0);
	ck_assert_int_eq(partition_reset(f.partition, &err), 0);
	load(&f, sum_code, sizeof(sum_code), BOOT_PROTECTED_MODE);
	partition_resume(f.partition);
	wait_told(&f);
	ck_assert_uint_eq(f.out, 0x66);
	tear_down(&f);
}
END_TEST

/*
 * Enables the hypercall page at 0x9000 (GUEST_OS_ID, HYPERCALL); SignalEvent three times on
 * connection 0x10007, once on 0x10008; then the last RAX to PORT_OUT.
 */
static const uint8_t doorbell_code[] = {
	0xb9, 0x00, 0x00, 0x00, 0x40,	    /* mov ecx, 0x40000000 */
	0xb8, 0x01, 0x00, 0x00, 0x00,	    /* mov eax, 1 */
	0x31, 0xd2, 0x0f, 0x30,		    /* xor edx, edx; wrmsr */
	0xb9, 0x01, 0x00, 0x00, 0x40,	    /* mov ecx, 0x40000001 */
	0xb8, 0x01, 0x90, 0x00, 0x00,	    /* mov eax, 0x9001 */
	0x0f, 0x30,			    /* wrmsr */
	0xbd, 0x03, 0x00, 0x00, 0x00,	    /* mov ebp, 3 */
	0xb9, 0x5d, 0x00, 0x01, 0x00,	    /* l: mov ecx, 0x1005d */
	0xba, 0x07, 0x00, 0x01, 0x00,	    /* mov edx, 0x10007 */
	0xbb, 0x00, 0x90, 0x00, 0x00,	    /* mov ebx, 0x9000 */
	0xff, 0xd3, 0x48, 0x85, 0xc0,	    /* call rbx; test rax, rax */
	0x75, 0x10, 0xff, 0xcd, 0x75, 0xe6, /* jnz out; dec ebp; jnz l */
	0xb9, 0x5d, 0x00, 0x01, 0x00,	    /* mov ecx, 0x1005d */
	0xba, 0x08, 0x00, 0x01, 0x00,	    /* mov edx, 0x10008 */
	0xff, 0xd3,			    /* call rbx */
	0xba, 0x00, 0x05, 0x00, 0x00,	    /* out: mov edx, PORT_OUT */
	0xef, 0xeb, 0xfe,		    /* out dx, eax; jmp . */
};

#define HV_STATUS_INVALID_CONNECTION_ID 0x12

START_TEST(doorbells_do_not_exit)
{
	int fd = eventfd(0, EFD_NONBLOCK);
	struct hv_ports *ports;
	struct fixture f;
	eventfd_t count;

	set_up(&f, 1);
	ports = hv_partition_ports(partition_hv(f.partition));
	ck_assert_int_eq(hv_ports_add_event(ports, 0x10007, fd), 0);
	load(&f, doorbell_code, sizeof(doorbell_code), BOOT_LONG_MODE);
	start(&f);
	wait_told(&f);
	ck_assert_str_eq(f.failure, "");
	/* The unknown id came out to us and went back with its status; the others did not. */
	ck_assert_uint_eq(f.out, HV_STATUS_INVALID_CONNECTION_ID);
	ck_assert_uint_eq(partition_exits(f.partition, 0, VP_EXIT_HYPERCALL), 1);
	ck_assert_uint_eq(partition_exits(f.partition, 0, VP_EXIT_PORT), 1);
	ck_assert_uint_eq(partition_exits(f.partition, 0, VP_EXIT_MSR_WRITE), 2);
	ck_assert_int_eq(eventfd_read(fd, &count), 0);
	ck_assert_uint_eq(count, 3);
	hv_ports_remove_event(ports, 0x10007);
	tear_down(&f);
	close(fd);
}
END_TEST

/* Without an IDT an NMI is a triple fault: the one thing seen from outside. */
START_TEST(nmi)
{
	struct fixture f;

	set_up(&f, 1);
	load(&f, sum_code, sizeof(sum_code), BOOT_PROTECTED_MODE);
	ck_assert_int_eq(partition_nmi(f.partition, 1), -EINVAL);
	start(&f);
	wait_told(&f);
	ck_assert_int_eq(partition_nmi(f.partition, 0), 0);
	wait_told(&f);
	ck_assert_str_eq(f.failure, "");
	ck_assert_int_eq(f.resets, 1);
	tear_down(&f);
}
END_TEST

static int refuse(void *context)
{
	return -EPERM;
}

START_TEST(hook_may_refuse)
{
	struct fixture f;
	struct error err = {.text = ""};

	set_up(&f, 2);
	ck_assert_int_eq(partition_start(f.partition, refuse, NULL, &err), 0);
	ck_assert_int_eq(partition_await(f.partition, &err), -EPERM);
	ck_assert_int_gt(strlen(err.text), 0);
	tear_down(&f);
}
END_TEST

START_TEST(bad_configurations)
{
	static const struct {
		unsigned int vp_count;
		uint64_t ram_bytes;
	} bad[] = {{0, RAM}, {MACHINE_MAX_VPS + 1, RAM}, {1, 0}, {1, 1}};
	const struct partition_config config = {
		.kvm_fd = kvm_fd,
		.vp_count = bad[_i].vp_count,
		.ram_bytes = bad[_i].ram_bytes,
		.events = &events,
	};
	struct partition *partition = NULL;
	struct error err = {.text = ""};

	ck_assert_int_eq(partition_new(&config, &partition, &err), -EINVAL);
	ck_assert_ptr_null(partition);
	ck_assert_int_gt(strlen(err.text), 0);
}
END_TEST

int main(void)
{
	TCase *tests;
	Suite *suite = suite_of("partition", &tests);

	kvm_fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (kvm_fd < 0) {
		printf("1..0 # SKIP /dev/kvm: %s\n", strerror(errno));
		return 0;
	}
	tcase_set_timeout(tests, 4 * WAIT_SECONDS);
	tcase_add_test(tests, protected_mode);
	tcase_add_test(tests, long_mode);
	tcase_add_test(tests, pause_and_resume);
	tcase_add_test(tests, pausing_completes_reads);
	tcase_add_test(tests, save_and_restore);
	tcase_add_test(tests, tsc_stands_still_over_a_save);
	tcase_add_test(tests, restore_refuses_other_shapes);
	tcase_add_test(tests, memory_is_plugged_into_a_running_guest);
	tcase_add_test(tests, triple_fault_and_reset);
	tcase_add_test(tests, reset_is_power_on);
	tcase_add_test(tests, reset_msr);
	tcase_add_test(tests, doorbells_do_not_exit);
	tcase_add_test(tests, nmi);
	tcase_add_test(tests, hook_may_refuse);
	tcase_add_loop_test(tests, bad_configurations, 0, 4);
	return suite_run(suite);
}

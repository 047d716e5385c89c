#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fuzz.h"
#include "vmm/boot.h"

/*
 * Any bytes as a kernel file: the first input byte picks the options, the rest is the file.  The
 * guest's memory is small, so that sizes near its end come up.
 */

#define RAM	     0x2000000ull
#define WITH_INITRD  (1u << 0)
#define WITH_TREE    (1u << 1)
#define WITH_NO_TEXT (1u << 2)

/* What every run uses again: making guest memory takes longer than loading into it. */
struct bench {
	struct gpa_space *gpa;
	int kernel;
	int initrd;
};

static const struct bench *bench_get(void)
{
	static struct bench bench;

	if (bench.gpa)
		return &bench;
	bench.kernel = memfd_create("kernel", MFD_CLOEXEC);
	bench.initrd = memfd_create("initrd", MFD_CLOEXEC);
	if (bench.kernel < 0 || bench.initrd < 0 || ftruncate(bench.initrd, 5000) < 0 ||
	    gpa_space_new(RAM, &bench.gpa, NULL) < 0)
		abort();
	return &bench;
}

static void check(const struct boot_result *result)
{
	const struct boot_registers *registers = &result->registers;

	assert(registers->rip < RAM);
	assert(registers->rsp <= RAM && registers->rsp > 0);
	assert(registers->gdt + registers->gdt_limit < RAM);
	assert((registers->mode == BOOT_LONG_MODE) == (registers->cr3 != 0));
	assert((registers->mode == BOOT_LONG_MODE) == (registers->rsi != 0));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct bench *bench = bench_get();
	struct fuzz_input input = {data, size};
	uint8_t options = fuzz_u8(&input);
	struct boot_request request = {
		.gpa = bench->gpa,
		.kernel_fd = bench->kernel,
		.kernel_name = "kernel",
		.initrd_fd = options & WITH_INITRD ? bench->initrd : -1,
		.initrd_name = "initrd",
		.command_line = options & WITH_NO_TEXT ? "" : "console=ttyS0",
		.vp_count = 1,
		.device_tree = options & WITH_TREE,
	};
	struct boot_result result;
	struct error err = {""};

	if (ftruncate(bench->kernel, 0) < 0 ||
	    pwrite(bench->kernel, input.data, input.size, 0) != (ssize_t)input.size ||
	    gpa_discard_all(bench->gpa) < 0)
		abort();
	if (boot_load(&request, &result, &err) == 0)
		check(&result);
	else
		assert(strlen(err.text) > 0);
	return 0;
}

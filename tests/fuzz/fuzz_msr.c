#include <errno.h>

#include "hv_fuzz.h"
#include "vmm/hv_ports.h"
#include "vmm/hv_synic.h"

/*
 * A guest's way with the synthetic MSRs: reads, writes, stores into its own pages, while the host
 * posts messages and signals events, and now and then the state is saved and restored.
 */

#define MSR_FIRST 0x40000000u
#define STEPS_MAX 256

static struct hv_fuzz f;

enum step {
	STEP_READ,
	STEP_WRITE,
	STEP_WRITE_PAGE, /* a value with RAM's address and the enable bit */
	STEP_STORE,
	STEP_POST,
	STEP_SIGNAL,
	STEP_SAVE,
	STEPS,
};

static void save_and_restore(void)
{
	struct state_writer *writer = state_writer_new();
	struct state_node root;
	void *tree;
	size_t size;

	hv_partition_pause(f.hv);
	hv_partition_save(f.hv, writer);
	if (state_finish(writer, &tree, &size) < 0)
		abort();
	state_writer_free(writer);
	if (state_open(tree, size, &root) < 0 || hv_partition_restore(f.hv, &root) < 0)
		abort();
	free(tree);
	hv_partition_resume(f.hv);
}

static void host_step(enum step step, struct hv_vp *vp, struct fuzz_input *input)
{
	const unsigned int sint = fuzz_u8(input) % HV_SINT_COUNT;
	uint8_t payload[HV_MESSAGE_PAYLOAD_MAX] = {0};
	const size_t size = fuzz_u8(input) % (sizeof(payload) + 1);

	if (step == STEP_SAVE)
		save_and_restore();
	else if (step == STEP_SIGNAL)
		hv_synic_signal(vp, sint, (unsigned int)size * 8);
	else if (hv_synic_post(vp, sint, 1, 0, payload, size) == -EINVAL)
		abort();
}

static void guest_step(enum step step, struct hv_vp *vp, struct fuzz_input *input)
{
	uint64_t value = fuzz_u64(input);
	uint32_t msr = MSR_FIRST + (uint32_t)(value >> 48) % 0x200;
	uint64_t read;

	value = fuzz_u64(input);
	if (step == STEP_WRITE_PAGE)
		value = (value % FUZZ_RAM & ~0xfffull) | 1;
	if (step == STEP_READ)
		hv_msr_read(vp, msr, &read);
	else if (step == STEP_STORE)
		gpa_write(f.gpa, value % FUZZ_RAM, &msr, sizeof(msr));
	else
		hv_msr_write(vp, msr, value);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input input = {data, size};

	if (!f.hv)
		hv_fuzz_new(&f);
	hv_fuzz_restart(&f);
	for (unsigned int i = 0; i < STEPS_MAX && input.size; i++) {
		enum step step = fuzz_u8(&input) % STEPS;
		struct hv_vp *vp = hv_fuzz_vp(&f, fuzz_u8(&input));

		if (step >= STEP_POST)
			host_step(step, vp, &input);
		else
			guest_step(step, vp, &input);
	}
	return 0;
}

#include "vsc_state.h"

#include "vmbus/bus.h"

static void be_quiet(const struct vsc_state *state)
{
	if (state->bus && state->ops->quiesce)
		state->ops->quiesce(state->device);
}

void vsc_state_save(void *context)
{
	struct vsc_state *state = context;
	struct state_writer *writer = state_writer_new();

	be_quiet(state);
	if (state->bus)
		vmbus_settle(state->bus);
	state_begin(writer, state->ops->name, state->ops->state_version);
	state->ops->save(state->device, writer);
	state_end(writer);
	if (state->bus)
		vmbus_save(state->bus, writer);
	state->result = state_finish(writer, &state->tree, &state->size);
	state_writer_free(writer);
}

void vsc_state_restore(void *context)
{
	struct vsc_state *state = context;
	struct state_node root, node;

	be_quiet(state);
	state->result = state_open(state->tree, state->size, &root);
	if (state->result == 0 && state->bus)
		state->result = vmbus_restore(state->bus, &root);
	if (state->result == 0)
		state->result =
			state_child(&root, state->ops->name, state->ops->state_version, &node);
	if (state->result == 0)
		state->result = state->ops->restore(state->device, &node);
}

void vsc_state_resume(void *context)
{
	struct vsc_state *state = context;

	vsc_state_restore(state);
	state->ops->unquiesce(state->device);
}

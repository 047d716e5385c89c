#include "devices/vsp/memory_meter.h"

#include "base/checked.h"

#define STATE_VERSION 1
#define NS_A_MS	      1000000u

void memory_meter_init(struct memory_meter *meter, uint64_t now, uint64_t assigned)
{
	*meter = (struct memory_meter){
		.since_ms = now / NS_A_MS,
		.assigned = assigned,
		.least = assigned,
		.most = assigned,
	};
	memory_meter_span(meter);
}

void memory_meter_note(struct memory_meter *meter, uint64_t now, uint64_t assigned)
{
	uint64_t ms = now / NS_A_MS - meter->since_ms;

	meter->since_ms += ms;
	meter->elapsed_ms += ms;
	meter->mib_ms += (meter->assigned >> 20) * ms;
	meter->assigned = assigned;
	meter->least = MIN(meter->least, assigned);
	meter->most = MAX(meter->most, assigned);
	meter->span_least = MIN(meter->span_least, assigned);
	meter->span_most = MAX(meter->span_most, assigned);
}

void memory_meter_span(struct memory_meter *meter)
{
	meter->span_least = meter->span_most = meter->assigned;
}

void memory_meter_put(const struct memory_meter *meter, struct state_writer *writer)
{
	state_begin(writer, "meter", STATE_VERSION);
	state_put_u64(writer, "ms", meter->elapsed_ms);
	state_put_u64(writer, "mib-ms", meter->mib_ms);
	state_put_u64(writer, "least", meter->least);
	state_put_u64(writer, "most", meter->most);
	state_put_u64(writer, "span-least", meter->span_least);
	state_put_u64(writer, "span-most", meter->span_most);
	state_end(writer);
}

#include "devices/block/figures.h"

static const char *const names[BLOCK_TIMED] = {"read-latency", "write-latency", "flush-latency"};

void block_count(struct block_counters *counters, enum block_operation operation, uint64_t length)
{
	switch (operation) {
	case BLOCK_READ:
		counters->reads++;
		counters->bytes_read += length;
		break;
	case BLOCK_WRITE:
		counters->writes++;
		counters->bytes_written += length;
		break;
	case BLOCK_FLUSH:
		counters->flushes++;
		break;
	default:
		counters->others++;
		break;
	}
}

void block_counters_add(struct block_counters *sum, const struct block_counters *part)
{
	sum->reads += part->reads;
	sum->writes += part->writes;
	sum->flushes += part->flushes;
	sum->others += part->others;
	sum->errors += part->errors;
	sum->bytes_read += part->bytes_read;
	sum->bytes_written += part->bytes_written;
	sum->limit_waits += part->limit_waits;
}

void block_counters_put(const struct block_counters *counters, struct state_writer *writer)
{
	state_put_u64(writer, "reads", counters->reads);
	state_put_u64(writer, "writes", counters->writes);
	state_put_u64(writer, "flushes", counters->flushes);
	state_put_u64(writer, "others", counters->others);
	state_put_u64(writer, "errors", counters->errors);
	state_put_u64(writer, "bytes-read", counters->bytes_read);
	state_put_u64(writer, "bytes-written", counters->bytes_written);
	state_put_u64(writer, "limit-waits", counters->limit_waits);
}

unsigned int block_timed_as(enum block_operation operation)
{
	switch (operation) {
	case BLOCK_READ:
		return 0;
	case BLOCK_WRITE:
		return 1;
	case BLOCK_FLUSH:
		return 2;
	default:
		return BLOCK_TIMED;
	}
}

void block_latencies_put(const struct block_latencies *latencies, struct state_writer *writer)
{
	for (unsigned int i = 0; i < BLOCK_TIMED; i++)
		latency_put(&latencies->of[i], names[i], writer);
}

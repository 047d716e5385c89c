#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/capture.h"
#include "base/checked.h"
#include "tools/trace.h"

/* pcapng, as far as traces have it; blocks of other kinds are passed over. */

#define NS_A_SECOND 1000000000ull
#define BLOCK_MIN   12u

static uint32_t number32(const struct trace_file *file, const uint8_t *at)
{
	uint32_t value;

	memcpy(&value, at, sizeof(value));
	return file->other_order ? __builtin_bswap32(value) : value;
}

static uint16_t number16(const struct trace_file *file, const uint8_t *at)
{
	uint16_t value;

	memcpy(&value, at, sizeof(value));
	return file->other_order ? __builtin_bswap16(value) : value;
}

static uint64_t number64(const struct trace_file *file, const uint8_t *at)
{
	uint64_t value;

	memcpy(&value, at, sizeof(value));
	return file->other_order ? __builtin_bswap64(value) : value;
}

int trace_file_open(struct trace_file *file, const struct trace_source *source)
{
	*file = (struct trace_file){.source = *source};
	file->block = malloc(TRACE_BLOCK_MAX);
	return file->block ? 0 : -ENOMEM;
}

void trace_file_close(struct trace_file *file)
{
	free(file->block);
	file->block = NULL;
}

/* All of bytes, or 0 at the end, or -EBADMSG where the end comes in between. */
static int read_all(struct trace_file *file, uint8_t *data, size_t bytes)
{
	size_t done = 0;

	while (done < bytes) {
		long r = file->source.read(file->source.context, data + done, bytes - done);

		if (r < 0)
			return (int)r;
		if (r == 0)
			return done ? -EBADMSG : 0;
		done += (size_t)r;
	}
	return 1;
}

/* A section's byte order decides how its own length is read. */
static int begin_section(struct trace_file *file)
{
	uint32_t order;
	int r = read_all(file, file->block + 8, 4);

	if (r <= 0)
		return r ? r : -EBADMSG;
	memcpy(&order, file->block + 8, sizeof(order));
	if (order != CAPTURE_BYTE_ORDER && order != __builtin_bswap32(CAPTURE_BYTE_ORDER))
		return -EPROTO;
	file->other_order = order != CAPTURE_BYTE_ORDER;
	file->begun = true;
	file->interfaces = 0;
	return 12;
}

/* Reads a block: 1, 0 at the end, or -errno. */
static int read_block(struct trace_file *file, uint32_t *type, uint32_t *length)
{
	uint32_t have = 8;
	int r = read_all(file, file->block, 8);

	if (r <= 0)
		return r == -EBADMSG && !file->begun ? -EPROTO : r;
	memcpy(type, file->block, sizeof(*type));
	if (*type == CAPTURE_SECTION_TYPE) {
		r = begin_section(file);
		if (r < 0)
			return r;
		have = (uint32_t)r;
	} else if (!file->begun) {
		return -EPROTO;
	}
	*type = number32(file, file->block);
	*length = number32(file, file->block + 4);
	if (*length < BLOCK_MIN || *length < have + 4 || *length % 4 || *length > TRACE_BLOCK_MAX)
		return -EBADMSG;
	r = read_all(file, file->block + have, *length - have);
	if (r <= 0)
		return r ? r : -EBADMSG;
	return number32(file, file->block + *length - 4) == *length ? 1 : -EBADMSG;
}

/* An option's value in [at, end), at least size bytes long; NULL if there is none. */
static const uint8_t *find_option(const struct trace_file *file, const uint8_t *at,
				  const uint8_t *end, uint16_t wanted, uint16_t size)
{
	while (end - at >= 4) {
		uint16_t code = number16(file, at), length = number16(file, at + 2);
		uint32_t padded = (length + 3u) & ~3u;

		if (code == CAPTURE_OPTION_END || padded > (size_t)(end - at - 4))
			return NULL;
		if (code == wanted)
			return length >= size ? at + 4 : NULL;
		at += 4 + padded;
	}
	return NULL;
}

/* if_tsresol: a power of ten, or of two. */
static uint64_t time_units(uint8_t resolution)
{
	unsigned int exponent = resolution & 0x7f;
	uint64_t units = 1;

	if (resolution & 0x80)
		return exponent < 63 ? 1ull << exponent : 0;
	if (exponent > 18)
		return 0;
	while (exponent--)
		units *= 10;
	return units;
}

static int read_interface(struct trace_file *file, uint32_t length)
{
	const uint8_t *end = file->block + length - 4;
	const uint8_t *resolution;

	if (length < 20)
		return -EBADMSG;
	if (file->interfaces++) /* ours have one */
		return 0;
	file->is_trace = number16(file, file->block + 8) == CAPTURE_LINK_USER0;
	resolution = find_option(file, file->block + 16, end, CAPTURE_INTERFACE_TIME_UNIT, 1);
	file->units_a_second = time_units(resolution ? *resolution : 6);
	return file->units_a_second ? 0 : -EBADMSG;
}

static void read_statistics(struct trace_file *file, uint32_t length)
{
	const uint8_t *end = file->block + length - 4;
	const uint8_t *value;

	if (length < 24)
		return;
	value = find_option(file, file->block + 20, end, CAPTURE_STATISTICS_DROPPED, 8);
	file->dropped = value ? number64(file, value) : 0;
	value = find_option(file, file->block + 20, end, CAPTURE_STATISTICS_RECEIVED, 8);
	file->received = value ? number64(file, value) : 0;
	file->has_statistics = true;
}

static int read_packet(const struct trace_file *file, uint32_t length, struct trace_record *record)
{
	const uint8_t *block = file->block, *dropped;
	uint32_t captured, padded;
	uint64_t time;

	if (length < 32 || !file->interfaces)
		return -EBADMSG;
	captured = number32(file, block + 20);
	if (captured > length - 32)
		return -EBADMSG;
	padded = (captured + 3) & ~3u;
	time = (uint64_t)number32(file, block + 12) << 32 | number32(file, block + 16);
	dropped = find_option(file, block + 28 + padded, block + length - 4, CAPTURE_PACKET_DROPPED,
			      8);
	*record = (struct trace_record){
		.time_ns = time / file->units_a_second * NS_A_SECOND +
			   (uint64_t)((unsigned __int128)(time % file->units_a_second) *
				      NS_A_SECOND / file->units_a_second),
		.dropped_before = dropped ? number64(file, dropped) : 0,
		.data = block + 28,
		.size = captured,
	};
	return 1;
}

int trace_file_next(struct trace_file *file, struct trace_record *record)
{
	uint32_t type, length;
	int r;

	while ((r = read_block(file, &type, &length)) == 1) {
		if (type == CAPTURE_INTERFACE)
			r = read_interface(file, length);
		else if (type == CAPTURE_PACKET && !file->is_trace)
			r = -EPROTO;
		else if (type == CAPTURE_PACKET)
			return read_packet(file, length, record);
		else if (type == CAPTURE_STATISTICS)
			read_statistics(file, length);
		if (r < 0)
			return r;
	}
	return r == 0 && !file->begun ? -EPROTO : r;
}

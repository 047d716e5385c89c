#pragma once

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "vmbus/trace.h"

/*
 * What bulkhead-trace is made of: a reader of pcapng files (trace_file.c), and the decoders of what
 * a trace of the bus holds (trace_decode.c, trace_message.c, trace_packet.c).  A file may hold
 * anything.
 */

#define TRACE_BLOCK_MAX (1u << 20)

/* A source of bytes; read is as read(2), 0 at the end. */
struct trace_source {
	long (*read)(void *context, void *data, size_t bytes);
	void *context;
};

struct trace_file {
	struct trace_source source;
	uint8_t *block;		 /* TRACE_BLOCK_MAX */
	bool other_order;	 /* the section is of a machine of the other byte order */
	uint64_t units_a_second; /* of times */
	bool begun;
	bool is_trace;		 /* the interface has the link type of traces */
	unsigned int interfaces; /* of the section */
	uint64_t dropped;	 /* by the statistics seen so far */
	uint64_t received;
	bool has_statistics;
};

/* A packet of the file; data is valid until the next one. */
struct trace_record {
	uint64_t time_ns;
	uint64_t dropped_before;
	const uint8_t *data;
	uint32_t size;
};

/* -ENOMEM. */
int trace_file_open(struct trace_file *file, const struct trace_source *source);
void trace_file_close(struct trace_file *file);
/* The next packet: 1, 0 at the end, -EPROTO for what is no trace, -EBADMSG for a file that is cut
 * off or broken here, or the -errno of a read. */
int trace_file_next(struct trace_file *file, struct trace_record *record);

/* Text that is cut where it is too long, and has only what can be printed. */
struct trace_text {
	size_t used;
	char text[512];
};

void trace_print(struct trace_text *text, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* A record, understood. */
struct trace_event {
	const char *kind; /* "message", "packet", "memory", "fault" */
	bool to_guest;
	uint32_t relid; /* that it is about; 0: none */
	unsigned int index;
	int vp; /* -1: none */
	char device[TRACE_LABEL_SIZE + 1];
	const char *class_name;
	uint64_t transaction_id; /* of packets and memory */
	struct trace_text name;
	struct trace_text details;
};

/* -EBADMSG for what is no record of ours. */
int trace_decode(const struct trace_record *record, struct trace_event *event);

/* trace_message.c: data and size are behind the header. */
int trace_decode_message(const uint8_t *data, size_t size, struct trace_event *event);

/* trace_packet.c */
struct trace_payload {
	const struct trace_packet *about; /* a copy */
	const uint8_t *data;		  /* that was recorded */
	size_t size;
	const uint8_t *ranges;
	size_t ranges_size;
};
void trace_decode_payload(const struct trace_payload *payload, struct trace_event *event);
/* trace_desktop.c: of the classes that these are named after. */
void trace_decode_dynmem(const struct trace_payload *payload, struct trace_event *event);
void trace_decode_keyboard(const struct trace_payload *payload, struct trace_event *event);
void trace_decode_mouse(const struct trace_payload *payload, struct trace_event *event);
void trace_decode_video(const struct trace_payload *payload, struct trace_event *event);
/* RNDIS, or nothing. */
void trace_decode_memory(const uint8_t *data, size_t size, struct trace_event *event);

/* A name from a table that is indexed; "unknown" and the number in hexadecimal elsewhere. */
void trace_name(struct trace_text *text, const char *const *names, size_t count, uint32_t number);

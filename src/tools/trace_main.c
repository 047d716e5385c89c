#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <jansson.h>

#include "base/error.h"
#include "base/parse.h"
#include "base/standard_fds.h"
#include "tools/trace.h"
#include "worker/protocol.h"
#include "worker/sandbox.h"

/*
 * bulkhead-trace [--json] [--channel N] NAME: prints the trace that is its standard input and that
 * the user calls NAME.  Files come from anywhere, so it reads them in a sandbox that leaves it no
 * more than that and its output.
 */

struct options {
	bool json;
	bool one_channel;
	uint64_t channel;
	const char *name;
};

static long read_input(void *context, void *data, size_t bytes)
{
	ssize_t r;

	do {
		r = read(STDIN_FILENO, data, bytes);
	} while (r < 0 && errno == EINTR);
	return r < 0 ? -errno : (long)r;
}

static void print_json(const struct trace_record *record, const struct trace_event *event)
{
	json_t *object = json_pack("{s:I, s:s, s:s, s:I, s:i, s:s, s:s}", "time_ns",
				   (json_int_t)record->time_ns, "kind", event->kind, "direction",
				   event->to_guest ? "to-guest" : "from-guest", "channel",
				   (json_int_t)event->relid, "index", (int)event->index, "name",
				   event->name.text, "details", event->details.text);

	if (event->vp >= 0)
		json_object_set_new(object, "vp", json_integer(event->vp));
	if (event->device[0]) {
		json_object_set_new(object, "device", json_string(event->device));
		json_object_set_new(object, "class", json_string(event->class_name));
		json_object_set_new(object, "transaction",
				    json_integer((json_int_t)event->transaction_id));
	}
	if (record->dropped_before)
		json_object_set_new(object, "dropped_before",
				    json_integer((json_int_t)record->dropped_before));
	json_dumpf(object, stdout, JSON_COMPACT);
	putchar('\n');
	json_decref(object);
}

/* 12:34:56.123456789, in UTC: the sandbox has no zones. */
static void print_time(uint64_t ns)
{
	time_t seconds = (time_t)(ns / 1000000000u);
	unsigned int day = (unsigned int)(seconds % 86400);

	printf("%02u:%02u:%02u.%09" PRIu64, day / 3600, day / 60 % 60, day % 60, ns % 1000000000u);
}

static void print_text(const struct trace_record *record, const struct trace_event *event)
{
	char channel[48] = "bus";

	if (record->dropped_before)
		printf("-- %" PRIu64 " records lost\n", record->dropped_before);
	if (event->relid)
		snprintf(channel, sizeof(channel),
			 event->index ? "ch%" PRIu32 " %s.%u" : "ch%" PRIu32 " %s", event->relid,
			 event->device, event->index);
	print_time(record->time_ns);
	printf(" %c %-14s %s", event->to_guest ? '>' : '<', channel, event->name.text);
	if (strcmp(event->kind, "packet") == 0 || strcmp(event->kind, "memory") == 0)
		printf(" [0x%" PRIx64 "]", event->transaction_id);
	printf("%s%s\n", event->details.used ? " " : "", event->details.text);
}

static void show(const struct options *options, const struct trace_record *record)
{
	struct trace_event event;

	if (trace_decode(record, &event) < 0) {
		memset(&event, 0, sizeof(event));
		event.kind = "unknown";
		event.class_name = "unknown";
		trace_print(&event.name, "UNKNOWN");
		trace_print(&event.details, "%" PRIu32 " bytes that are no record of this version",
			    record->size);
	}
	if (options->one_channel && event.relid != options->channel)
		return;
	if (options->json)
		print_json(record, &event);
	else
		print_text(record, &event);
}

static int fail(const struct options *options, const char *sentence)
{
	fflush(stdout);
	fprintf(stderr, "bulkhead: %.200s: %s\n", options->name, sentence);
	return EXIT_VMM_ERROR;
}

static int finish(const struct options *options, const struct trace_file *file, int result)
{
	if (result == -EPROTO)
		return fail(options,
			    "this is no trace of a VMBus; give a file that --trace has made");
	if (result == -EBADMSG)
		return fail(options,
			    "the trace is cut off or damaged here; what comes before is right");
	if (result < 0)
		return fail(options, "the trace cannot be read; check its disk");
	if (file->has_statistics && file->dropped && !options->json)
		printf("-- %" PRIu64 " of %" PRIu64 " records lost\n", file->dropped,
		       file->received);
	return fflush(stdout) && errno != EPIPE ? fail(options, "cannot write to standard output")
						: 0;
}

static int print_all(const struct options *options)
{
	const struct trace_source source = {.read = read_input};
	struct trace_record record;
	struct trace_file file;
	int r = trace_file_open(&file, &source);

	if (r < 0)
		return fail(options, "out of memory; free some on the host");
	while ((r = trace_file_next(&file, &record)) == 1 && !ferror(stdout))
		show(options, &record);
	r = finish(options, &file, r);
	trace_file_close(&file);
	return r;
}

static int read_options(int argc, char **argv, struct options *options)
{
	if (argc < 2)
		return -EINVAL;
	options->name = argv[argc - 1]; /* whatever it looks like */
	for (int i = 1; i < argc - 1; i++) {
		if (!strcmp(argv[i], "--json"))
			options->json = true;
		else if (!strcmp(argv[i], "--channel") && i + 1 < argc - 1 &&
			 !parse_u64(argv[++i], 0, UINT32_MAX, &options->channel))
			options->one_channel = true;
		else
			return -EINVAL;
	}
	return 0;
}

int main(int argc, char **argv)
{
	struct options options = {.json = false};
	struct sandbox sandbox;
	struct error err;

	if (standard_fds_open())
		return EXIT_VMM_ERROR;
	json_object_seed(0); /* opens a file */
	if (read_options(argc, argv, &options)) {
		fprintf(stderr, "bulkhead-trace: bulkhead starts it; use `bulkhead trace show`\n");
		return EXIT_USAGE;
	}
	if (sandbox_begin(&sandbox, STDERR_FILENO, 0, &err) || sandbox_drop(&sandbox, &err) ||
	    sandbox_enter_reader(&err)) {
		fprintf(stderr, "bulkhead: %s\n", err.text);
		return EXIT_VMM_ERROR;
	}
	return print_all(&options);
}

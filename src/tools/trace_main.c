#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <jansson.h>

#include "base/error.h"
#include "base/json_link.h"
#include "base/parse.h"
#include "base/standard_fds.h"
#include "base/text.h"
#include "tools/trace.h"
#include "worker/protocol.h"
#include "worker/sandbox.h"

/*
 * bulkhead-trace [--json] [--channel N] NAME: prints the trace that is its standard input and that
 * the user calls NAME.  Files come from anywhere, so it reads them in a sandbox that leaves it no
 * more than that and its output.
 *
 * bulkhead-trace --served [--channel N] NAME: the same for the daemon, over a control socket.  A
 * message comes with the trace's descriptor, and it answers
 *
 *   {"record": {...}}    for each, as --json prints it
 *   {"end": {...}}       or {"error": SENTENCE}, last; the end has "packets" and "dropped" where
 *                        the trace counts them
 */

struct options {
	bool json;
	bool served;
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

/* A message of the control socket; takes it over. */
static void say(json_t *message)
{
	json_dumpf(message, stdout, JSON_COMPACT);
	putchar('\0');
	json_decref(message);
}

static json_t *record_json(const struct trace_record *record, const struct trace_event *event)
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
	return object;
}

static void print_json(const struct trace_record *record, const struct trace_event *event)
{
	json_t *object = record_json(record, event);

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
	if (options->served)
		say(json_pack("{s:o}", "record", record_json(record, &event)));
	else if (options->json)
		print_json(record, &event);
	else
		print_text(record, &event);
}

static int fail(const struct options *options, const char *sentence)
{
	struct error err;

	error_set(&err, EIO, "%.200s: %s", options->name, sentence);
	if (options->served)
		say(json_pack("{s:o}", "error", text_json(err.text)));
	fflush(stdout);
	if (!options->served)
		fprintf(stderr, "bulkhead: %s\n", err.text);
	return EXIT_VMM_ERROR;
}

static void tell_end(const struct options *options, const struct trace_file *file)
{
	if (options->served && file->has_statistics)
		say(json_pack("{s:{s:I, s:I}}", "end", "packets", (json_int_t)file->received,
			      "dropped", (json_int_t)file->dropped));
	else if (options->served)
		say(json_pack("{s:{}}", "end"));
	else if (file->has_statistics && file->dropped && !options->json)
		printf("-- %" PRIu64 " of %" PRIu64 " records lost\n", file->dropped,
		       file->received);
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
	tell_end(options, file);
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
		else if (!strcmp(argv[i], "--served"))
			options->served = true;
		else if (!strcmp(argv[i], "--channel") && i + 1 < argc - 1 &&
			 !parse_u64(argv[++i], 0, UINT32_MAX, &options->channel))
			options->one_channel = true;
		else
			return -EINVAL;
	}
	return 0;
}

/* The file that comes over the control socket becomes the standard input, and the socket the
 * output; -errno, or -ENODATA where none comes. */
static int take_file(void)
{
	static const struct json_link_limits limits = {.message_max = 4096, .fds_max = 1};
	struct json_link *link;
	json_t *message;
	int fd;
	int r = json_link_new(PROTOCOL_CONTROL_FD, &limits, &link);

	if (r)
		return r;
	r = json_link_wait(link, -1, &message);
	if (r > 0)
		json_decref(message);
	fd = r > 0 ? json_link_take_fd(link) : -1;
	if (fd >= 0 && dup2(fd, STDIN_FILENO) >= 0 && dup2(PROTOCOL_CONTROL_FD, STDOUT_FILENO) >= 0)
		r = 0;
	if (fd >= 0)
		close(fd);
	json_link_free(link);
	return r > 0 ? -EBADF : r;
}

int main(int argc, char **argv)
{
	struct options options = {.json = false};
	struct sandbox sandbox;
	struct error err;
	int r;

	if (standard_fds_open())
		return EXIT_VMM_ERROR;
	json_object_seed(0); /* opens a file */
	if (read_options(argc, argv, &options)) {
		fprintf(stderr, "bulkhead-trace: bulkhead starts it; use `bulkhead trace show`\n");
		return EXIT_USAGE;
	}
	r = sandbox_begin(&sandbox, options.served ? PROTOCOL_CONTROL_FD : STDERR_FILENO, 0, &err);
	if (!r)
		r = sandbox_drop(&sandbox, &err);
	/* Who was to give it could not open it, and says so. */
	if (!r && options.served && take_file())
		return EXIT_VMM_ERROR;
	if (!r)
		r = sandbox_enter_reader(&err);
	if (r) {
		fprintf(stderr, "bulkhead: %s\n", err.text);
		return EXIT_VMM_ERROR;
	}
	return print_all(&options);
}

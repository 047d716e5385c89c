#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/base64.h"
#include "base/cleanup.h"
#include "base/json_link.h"
#include "base/text.h"
#include "mgmt/client_daemon.h"
#include "mgmt/client_terminal.h"
#include "mgmt/client_vm.h"
#include "mgmt/command.h"
#include "worker/protocol.h"

/* bulkhead vm console: one connection reads, another writes, for each has one call at a time. */

#define LEAVE_CHARACTER 0x1d /* Ctrl-] */
#define PART_SIZE	4096 /* typed at a time */
#define INPUT_SIZE	65536
#define LEAVE		1 /* a step's result: the user wants no more */

struct console_client {
	const char *name;
	bool follow;
	struct terminal terminal;
	struct json_link *reader;
	struct json_link *writer;
	char *session;
	bool told; /* whether we write */
	bool may_write;
	bool replayed;
	bool input_ended;
	bool typing; /* an answer of the writer's is due */
	int code;    /* of the program */
	size_t input_length;
	char input[INPUT_SIZE]; /* that is not typed yet */
	struct error err;
};

static int set_read_only(void *target, const char *value, struct error *err)
{
	return guest_set_true(target, "read_only");
}

static int set_no_follow(void *target, const char *value, struct error *err)
{
	((struct guest_command *)target)->hold = true;
	return 0;
}

static const struct option console_options[] = {
	{"--read-only", NULL, "look on, and leave the keyboard to others", set_read_only},
	{"--no-follow", NULL, "leave at the end of the input, not at that of the VM",
	 set_no_follow},
	{"--json", NULL, "tell a failure as JSON too; the console is as it is", guest_set_json},
};

const struct option_set command_console_options = OPTION_SET(console_options);

void command_vm_console_text(FILE *stream)
{
	fprintf(stream,
		"First come the last 64 KiB that the guest wrote.  Any number may look on, and "
		"the first\nof them types, until it leaves.  Ctrl-] leaves; the VM runs on.  "
		"Input and output may be\npipes: `bulkhead vm console NAME --no-follow "
		"</dev/null` prints what there is.\n");
}

static int lose_daemon(struct console_client *client)
{
	return error_set(&client->err, EREMOTEIO,
			 "%s: the daemon ended, or dropped this console, while the VM may run on; "
			 "attach again",
			 client->name);
}

/* Tells once, and again when it changes, who types. */
static void tell_writer(struct console_client *client, const json_t *reply, bool wanted)
{
	bool writer = json_is_true(json_object_get(reply, "writer"));

	if (wanted && !writer && !client->told)
		terminal_say(&client->terminal, "%s: read-only: another terminal writes",
			     client->name);
	if (wanted && writer && client->told && !client->may_write)
		terminal_say(&client->terminal, "%s: the other terminal has left: you write",
			     client->name);
	client->may_write = wanted && writer;
	client->told = true;
}

static int write_out(struct console_client *client, const char *data, size_t length)
{
	int r = terminal_write(&client->terminal, data, length);

	if (r == -EPIPE) /* who read it has enough */
		return LEAVE;
	if (r < 0)
		return error_set(&client->err, EIO,
				 "%s: its console cannot be written to standard output: %s; make "
				 "room there",
				 client->name, strerror(-r));
	if (r > 0)
		client->code = 128 + r;
	return r ? LEAVE : 0;
}

static int print_data(struct console_client *client, const json_t *reply)
{
	const char *text = guest_text(reply, "data");
	size_t size = strlen(text), length;
	CLEANUP_FREE char *data = malloc(size + 1);
	json_int_t lost = json_integer_value(json_object_get(reply, "lost"));

	if (!data)
		return error_memory(&client->err, "what the guest wrote");
	if (base64_decode(text, data, size, &length))
		return error_set(&client->err, EPROTO,
				 "%s: its console's data is not base64; use the bulkhead of the "
				 "daemon's version",
				 client->name);
	if (lost > 0)
		terminal_say(&client->terminal, "%s: %lld bytes came too fast and are missing here",
			     client->name, (long long)lost);
	return write_out(client, data, length);
}

static int end_of_vm(const struct console_client *client)
{
	terminal_say(&client->terminal, "%s: the VM has ended", client->name);
	return LEAVE;
}

static int take_reply(struct console_client *client, const json_t *message, bool wanted)
{
	const json_t *reply = json_object_get(message, "parameters");
	const char *session = json_string_value(json_object_get(reply, "session"));

	if (json_object_get(message, "error")) {
		int r = daemon_error(message, &client->err);

		return r == -EBADFD && client->replayed ? end_of_vm(client) : r;
	}
	if (!client->session && session)
		client->session = strdup(session);
	tell_writer(client, reply, wanted);
	client->replayed = true;
	return print_data(client, reply);
}

/* What came of the guest: LEAVE with the VM's end. */
static int read_console(struct console_client *client, bool wanted)
{
	json_t *message;
	int r;

	while ((r = json_link_receive(client->reader, &message)) == 1) {
		bool last = !json_is_true(json_object_get(message, "continues"));
		int done = take_reply(client, message, wanted);

		json_decref(message);
		if (done)
			return done;
		if (last)
			return end_of_vm(client);
	}
	return r ? lose_daemon(client) : 0;
}

/* The answer to what was typed.  A VM that ends, or another who writes, is told by the reader. */
static int read_answer(struct console_client *client)
{
	json_t *message;
	int r = json_link_receive(client->writer, &message);

	if (r == 0)
		return 0;
	if (r < 0)
		return lose_daemon(client);
	client->typing = false;
	if (json_object_get(message, "error") && client->may_write) {
		daemon_error(message, &client->err);
		terminal_say(&client->terminal, "%.400s", client->err.text);
	}
	json_decref(message);
	return 0;
}

static int type_input(struct console_client *client)
{
	size_t length = client->input_length < PART_SIZE ? client->input_length : PART_SIZE;
	char text[BASE64_LENGTH(PART_SIZE) + 1];
	int r;

	if (length == 0 || client->typing || !client->may_write)
		return 0;
	base64_encode(client->input, length, text);
	client->input_length -= length;
	memmove(client->input, client->input + length, client->input_length);
	r = daemon_send(client->writer, "WriteConsole",
			json_pack("{s:s, s:s, s:s}", "vm", client->name, "session", client->session,
				  "data", text),
			false);
	client->typing = true;
	return r ? lose_daemon(client) : 0;
}

/* From a terminal all is read, so that Ctrl-] gets through; what there is no room for is dropped.
 */
static int read_input(struct console_client *client)
{
	char input[PART_SIZE];
	size_t room = INPUT_SIZE - client->input_length;
	ssize_t count = read(STDIN_FILENO, input, sizeof(input));
	const char *leave;

	if (count < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (count <= 0) {
		client->input_ended = true;
		return client->terminal.is_terminal ? LEAVE : 0;
	}
	leave = client->terminal.is_terminal ? memchr(input, LEAVE_CHARACTER, (size_t)count) : NULL;
	if (leave)
		return LEAVE;
	if (!client->may_write)
		return 0;
	room = room < (size_t)count ? room : (size_t)count;
	memcpy(client->input + client->input_length, input, room);
	client->input_length += room;
	return 0;
}

static bool wants_input(const struct console_client *client)
{
	if (client->input_ended || !client->replayed)
		return false;
	return client->terminal.is_terminal || (client->may_write && client->input_length == 0);
}

/* All that was to be read and typed was. */
static bool is_done(const struct console_client *client)
{
	bool no_input = client->input_ended || !client->may_write || client->terminal.is_terminal;

	return !client->follow && client->replayed && no_input && client->input_length == 0 &&
	       !client->typing;
}

/* Waits for one thing or more, and does it: 0 to go on. */
static int turn(struct console_client *client, bool wanted)
{
	struct pollfd fds[] = {
		{.fd = client->terminal.signals, .events = POLLIN},
		{.fd = json_link_fd(client->reader), .events = POLLIN},
		{.fd = client->typing ? json_link_fd(client->writer) : -1, .events = POLLIN},
		{.fd = wants_input(client) ? STDIN_FILENO : -1, .events = POLLIN},
	};
	int r;

	if (client->writer && json_link_queued(client->writer))
		fds[2].events |= POLLOUT;
	if (poll(fds, 4, -1) < 0 && errno != EINTR)
		return error_host(&client->err, errno, "cannot wait for the console");
	r = terminal_signal(&client->terminal);
	if (r > 0) {
		client->code = 128 + r;
		return LEAVE;
	}
	if (fds[2].revents & POLLOUT && json_link_flush(client->writer))
		return lose_daemon(client);
	r = fds[2].revents ? read_answer(client) : 0;
	if (!r && fds[3].revents)
		r = read_input(client);
	if (!r && fds[1].revents)
		r = read_console(client, wanted);
	return r ? r : type_input(client);
}

static int stay(struct console_client *client, bool wanted)
{
	int r = 0;

	while (!r && !is_done(client))
		r = turn(client, wanted);
	return r;
}

static int attach(struct console_client *client, const struct guest_command *command)
{
	bool wanted = !json_object_get(command->parameters, "read_only");
	int r = daemon_connect(&client->reader, &client->err);

	if (!r)
		r = daemon_connect(&client->writer, &client->err);
	if (r)
		return r;
	json_object_set_new(command->parameters, "vm", json_string(client->name));
	r = daemon_send(client->reader, "OpenConsole", json_incref(command->parameters), true);
	if (r)
		return lose_daemon(client);
	r = terminal_open(&client->terminal, &client->err);
	if (r)
		return r;
	r = stay(client, wanted);
	if (client->terminal.raw)
		terminal_say(&client->terminal, "%s: left its console", client->name);
	terminal_close(&client->terminal);
	return r;
}

static int call_console(struct guest_command *command)
{
	struct console_client *client = calloc(1, sizeof(*client));
	int code;

	if (!client)
		return command_fail("there is no memory for the console; free some of the host",
				    EXIT_VMM_ERROR, command->json);
	client->name = command->name;
	client->follow = !command->hold;
	client->terminal.signals = -1;
	code = attach(client, command);
	code = code < 0 ? command_fail(client->err.text, client_exit(code), command->json)
			: client->code;
	json_link_free(client->reader);
	json_link_free(client->writer);
	free(client->session);
	free(client);
	return code;
}

int command_vm_console(int argc, char **argv)
{
	static const struct guest_verb verb = {
		VM_VERB("OpenConsole", "", console_options, CLIENT_LONG_MS),
		.call = call_console,
	};

	return guest_verb_run(argc, argv, &verb);
}

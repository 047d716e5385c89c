#include <errno.h>
#include <png.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/keys.h"
#include "base/text.h"
#include "mgmt/client.h"
#include "mgmt/client_daemon.h"
#include "mgmt/columns.h"
#include "mgmt/command.h"
#include "mgmt/options.h"
#include "mgmt/run_options.h"

/* bulkhead screenshot and send-key. */

#define SIZE_MAX_PIXELS 8192
#define CHORD_MAX	8u   /* keys held at once */
#define PART_STROKES	512u /* sent at a time: half of what may wait for a guest */
#define PART_TRIES	600u
#define PART_WAIT_US	50000u /* between them */

struct display_command {
	const char *name;
	const char *file;
	const char *method; /* that types */
	json_t *strokes;
	bool text;
	bool json;
};

/* What the VM says of its screen. */
struct shape {
	uint32_t width, height, depth, pitch, offset;
};

static int set_json(void *target, const char *value, struct error *err)
{
	((struct display_command *)target)->json = true;
	return 0;
}

static int set_name(struct display_command *command, const char *word, struct error *err)
{
	if (!run_name_valid(word))
		return error_set(err, EINVAL, "\"%.80s\" cannot be the name of a VM", word);
	command->name = word;
	return 0;
}

static int set_file(void *target, const char *word, struct error *err)
{
	struct display_command *command = target;

	if (!command->name)
		return set_name(command, word, err);
	if (command->file || !*word)
		return error_set(err, EINVAL, "unexpected word \"%.80s\"; give a NAME and a FILE",
				 word);
	command->file = word;
	return 0;
}

static bool read_number(const json_t *reply, const char *key, uint32_t max, uint32_t *value)
{
	json_int_t number = json_integer_value(json_object_get(reply, key));

	*value = (uint32_t)number;
	return number >= 0 && number <= max;
}

static bool read_shape(const json_t *reply, struct shape *shape)
{
	return read_number(reply, "width", SIZE_MAX_PIXELS, &shape->width) &&
	       read_number(reply, "height", SIZE_MAX_PIXELS, &shape->height) &&
	       read_number(reply, "depth", 32, &shape->depth) &&
	       read_number(reply, "pitch", UINT32_MAX, &shape->pitch) &&
	       read_number(reply, "offset", UINT32_MAX, &shape->offset) && shape->width > 0 &&
	       shape->height > 0 && (shape->depth == 16 || shape->depth == 32);
}

static void convert_pixel(const uint8_t *pixel, uint32_t depth, uint8_t *rgb)
{
	unsigned int bits = pixel[0] | pixel[1] << 8;

	if (depth == 32) {
		rgb[0] = pixel[2];
		rgb[1] = pixel[1];
		rgb[2] = pixel[0];
		return;
	}
	rgb[0] = (uint8_t)((bits >> 11) * 255 / 31);
	rgb[1] = (uint8_t)((bits >> 5 & 63) * 255 / 63);
	rgb[2] = (uint8_t)((bits & 31) * 255 / 31);
}

/* Reads each line once, while the guest may draw; malloc'ed, three bytes a pixel, or NULL with
 * errno. */
static uint8_t *read_picture(int fd, const struct shape *shape)
{
	size_t bytes = shape->depth / 8;
	CLEANUP_FREE uint8_t *line = malloc(shape->width * bytes);
	CLEANUP_FREE uint8_t *picture = malloc((size_t)3 * shape->width * shape->height);

	for (uint32_t y = 0; line && picture && y < shape->height; y++) {
		off_t at = (off_t)shape->offset + (off_t)shape->pitch * y;
		ssize_t got = pread(fd, line, shape->width * bytes, at);

		if (got != (ssize_t)(shape->width * bytes)) {
			errno = got < 0 ? errno : ENODATA;
			return NULL;
		}
		for (uint32_t x = 0; x < shape->width; x++)
			convert_pixel(line + x * bytes, shape->depth,
				      picture + 3 * ((size_t)y * shape->width + x));
	}
	return line ? TAKE_POINTER(picture) : NULL;
}

static int write_png(int fd, const struct shape *shape, const uint8_t *picture)
{
	png_image image = {.version = PNG_IMAGE_VERSION,
			   .width = shape->width,
			   .height = shape->height,
			   .format = PNG_FORMAT_RGB};
	FILE *file = fdopen(fd, "w");
	int r = 0;

	if (!file) {
		r = -errno;
		close(fd);
		return r;
	}
	errno = 0;
	if (!png_image_write_to_stdio(&image, file, 0, picture, 0, NULL))
		r = errno ? -errno : -EIO;
	if (fclose(file) && !r)
		r = -errno;
	return r;
}

/* Under another name first: there is a whole file, or none of ours. */
static int write_file(const char *path, const struct shape *shape, const uint8_t *picture,
		      struct error *err)
{
	CLEANUP_FREE char *new = NULL;
	mode_t mask = umask(0);
	int fd, r;

	umask(mask);
	if (asprintf(&new, "%s.XXXXXX", path) < 0) {
		new = NULL;
		return error_memory(err, "the name of the file");
	}
	fd = mkstemp(new);
	if (fd < 0)
		return error_set(err, errno, "%.200s cannot be made: %s; choose another place",
				 path, strerror(errno));
	r = fchmod(fd, 0666 & ~mask) ? -errno : 0;
	if (r)
		close(fd);
	else
		r = write_png(fd, shape, picture);
	if (!r && rename(new, path))
		r = -errno;
	if (!r)
		return 0;
	unlink(new);
	return error_set(err, -r, "%.200s cannot be written: %s; choose another place", path,
			 strerror(-r));
}

static int take(const struct display_command *command, const char *method, json_t **reply,
		struct error *err)
{
	CLEANUP_FREE uint8_t *picture = NULL;
	CLEANUP_CLOSE int fd = -1;
	struct shape shape;
	int r = client_call_fd(command->name, method, NULL, CLIENT_TIMEOUT_MS, reply, &fd, err);

	if (r)
		return r;
	if (fd >= 0 && read_shape(*reply, &shape))
		picture = read_picture(fd, &shape);
	else
		errno = EPROTO;
	if (!picture)
		r = error_set(err, errno,
			      "%s: its picture cannot be read: %s; use the bulkhead of the version "
			      "that runs it",
			      command->name, strerror(errno));
	else
		r = write_file(command->file, &shape, picture, err);
	if (r)
		json_decref(*reply);
	return r;
}

static void print_picture(const struct display_command *command, const json_t *reply)
{
	json_t *object = json_pack("{s:o, s:O, s:O}", "file", text_json(command->file), "width",
				   json_object_get(reply, "width"), "height",
				   json_object_get(reply, "height"));

	if (command->json)
		client_print_json(object);
	json_decref(object);
}

static int want_text(void *target, const char *value, struct error *err)
{
	((struct display_command *)target)->text = true;
	return 0;
}

static const struct option screenshot_options[] = {
	{"--text", NULL, "print the text on the screen of a Generation 1 VM, in place of a file",
	 want_text},
	{"--json", NULL, "print JSON", set_json},
};

const struct option_set command_screenshot_options = OPTION_SET(screenshot_options);

/* Up to the last row that has any. */
/* The guest's words, of which a terminal is to show but not to do anything. */
static void print_rows(const json_t *lines)
{
	size_t count = json_array_size(lines), index;
	json_t *line;

	while (count > 0 && !json_string_length(json_array_get(lines, count - 1)))
		count--;
	json_array_foreach((json_t *)lines, index, line)
	{
		if (index >= count)
			break;
		columns_text(json_is_string(line) ? json_string_value(line) : "", 0);
		putchar('\n');
	}
}

static int read_text(const struct display_command *command, const char *method)
{
	struct error err;
	json_t *reply;
	int r = client_call(command->name, method, NULL, CLIENT_TIMEOUT_MS, &reply, &err);

	if (r)
		return command_fail(err.text, client_exit(r), command->json);
	if (command->json)
		client_print_json(reply);
	else
		print_rows(json_object_get(reply, "lines"));
	json_decref(reply);
	return 0;
}

/* Of the interface's methods. */
static int screenshot(int argc, char **argv, const char *method, const char *text_method)
{
	struct display_command command = {0};
	struct error err;
	json_t *reply;
	int r = options_parse_set(&command_screenshot_options, argc, argv, set_file, &command,
				  &err);

	if (!r && command.text && command.file)
		r = error_set(&err, EINVAL, "--text prints and writes no file; leave out %.80s",
			      command.file);
	if (!r && (!command.name || !(command.text || command.file)))
		r = error_set(&err, EINVAL,
			      "give the NAME of a running VM and a FILE to write, or --text");
	if (r)
		return command_fail(err.text, EXIT_USAGE, command.json);
	if (command.text)
		return read_text(&command, text_method);
	r = take(&command, method, &reply, &err);
	if (r)
		return command_fail(err.text, client_exit(r), command.json);
	print_picture(&command, reply);
	json_decref(reply);
	return 0;
}

int command_screenshot(int argc, char **argv)
{
	return screenshot(argc, argv, "io.bulkhead.VM.Screenshot", "io.bulkhead.VM.ReadText");
}

int command_vm_screenshot(int argc, char **argv)
{
	return screenshot(argc, argv, "io.bulkhead.VMMS.Screenshot", "io.bulkhead.VMMS.ReadText");
}

static void add_stroke(struct display_command *command, uint32_t stroke)
{
	json_array_append_new(command->strokes, json_integer((json_int_t)stroke));
}

/* Presses them one after the other and lets go in the reverse order. */
static void add_chord(struct display_command *command, const uint32_t *keys, unsigned int count)
{
	for (unsigned int i = 0; i < count; i++)
		add_stroke(command, keys[i]);
	while (count > 0)
		add_stroke(command, keys[--count] | KEYS_BREAK);
}

static uint32_t shift_key(void)
{
	return keys_of_name("shift", 5);
}

/* "ctrl-alt-delete": keys to hold at once.  A single character is itself, with shift if need be. */
static int add_keys(struct display_command *command, const char *word, struct error *err)
{
	uint32_t keys[CHORD_MAX];
	unsigned int count = 0;
	const char *at = word;
	bool shift = false;

	if (strlen(word) == 1 && keys_of_char(word[0], &shift) && shift)
		keys[count++] = shift_key();
	do {
		size_t length = at[0] == '-' ? 1 : strcspn(at, "-");
		uint32_t key = keys_of_name(at, length);

		if (!key || count == CHORD_MAX)
			return error_set(err, EINVAL,
					 "\"%.80s\" is no key, nor keys joined by '-', like "
					 "ctrl-alt-delete; `bulkhead help send-key` lists them",
					 word);
		keys[count++] = key;
		at += length;
	} while (*at++ == '-' && *at);
	add_chord(command, keys, count);
	return 0;
}

static int set_key(void *target, const char *word, struct error *err)
{
	struct display_command *command = target;

	return command->name ? add_keys(command, word, err) : set_name(command, word, err);
}

static int set_text(void *target, const char *text, struct error *err)
{
	for (; *text; text++) {
		bool shift;
		uint32_t key = keys_of_char(*text, &shift);
		const uint32_t both[] = {shift_key(), key};

		if (!key)
			return error_set(err, EINVAL,
					 "--text: a US keyboard has no key for one of its "
					 "characters; give ASCII text");
		add_chord(target, shift ? both : &key, shift ? 2 : 1);
	}
	return 0;
}

static const struct option key_options[] = {
	{"--text", "TEXT", "the keys that type it, on a keyboard with the US layout", set_text},
	{"--json", NULL, "print JSON", set_json},
};

const struct option_set command_send_key_options = OPTION_SET(key_options);

void command_send_key_text(FILE *stream)
{
	fprintf(stream, "Each KEYS is a key, or keys held at once, joined by '-': ctrl-alt-delete. "
			" A key is the\ncharacter that it types with the US layout, or one of:\n");
	for (unsigned int i = 0; keys_name(i); i++)
		fprintf(stream, "%s%s", i % 10 ? " " : "\n  ", keys_name(i));
	fprintf(stream, "\n");
}

/* From that stroke on, as many as may be typed at once, and no key held behind them; the number of
 * those behind it. */
static size_t take_part(const json_t *strokes, size_t from, json_t *part)
{
	size_t held = 0, end = from, safe = from;

	while (end < json_array_size(strokes) && end - from < PART_STROKES) {
		json_int_t stroke = json_integer_value(json_array_get(strokes, end++));

		if (stroke & KEYS_BREAK)
			held--;
		else
			held++;
		if (held == 0)
			safe = end;
	}
	for (size_t i = from; i < safe; i++)
		json_array_append(part, json_array_get(strokes, i));
	return safe;
}

/* A part that is not the first may have to wait until the guest has taken the one before. */
static int type_part(const struct display_command *command, json_t *part, unsigned int tries,
		     struct error *err)
{
	json_t *parameters = json_pack("{s:O}", "strokes", part);
	bool typed = false;
	int r;

	for (;;) {
		json_t *reply;

		r = client_call(command->name, command->method, parameters, CLIENT_TIMEOUT_MS,
				&reply, err);
		if (r)
			break;
		typed = json_integer_value(json_object_get(reply, "typed")) > 0;
		json_decref(reply);
		if (typed || --tries == 0)
			break;
		usleep(PART_WAIT_US);
	}
	json_decref(parameters);
	if (!r && !typed)
		return error_set(err, EAGAIN,
				 "%s: the guest does not take its keys; try again when it does",
				 command->name);
	return r;
}

/* *typed: how many strokes were, which is less than all where it fails. */
static int type_all(const struct display_command *command, size_t *typed, struct error *err)
{
	size_t count = json_array_size(command->strokes);

	*typed = 0;
	while (*typed < count) {
		json_t *part = json_array();
		size_t end = take_part(command->strokes, *typed, part);
		int r = type_part(command, part, *typed ? PART_TRIES : 1, err);

		json_decref(part);
		if (r)
			return r;
		*typed = end;
	}
	return 0;
}

/* Some keys were typed and the rest was not: says which. */
static void tell_typed(const struct display_command *command, size_t typed, struct error *err)
{
	const struct error sentence = *err;

	if (typed)
		error_set(err, EAGAIN, "%.300s (%zu of %zu strokes were typed)", sentence.text,
			  typed, json_array_size(command->strokes));
}

static int type(struct display_command *command, int r, struct error *err)
{
	size_t typed;

	if (!r && (!command->name || json_array_size(command->strokes) == 0))
		r = error_set(err, EINVAL, "give the NAME of a running VM and the KEYS to press");
	if (r)
		return command_fail(err->text, EXIT_USAGE, command->json);
	r = type_all(command, &typed, err);
	if (r) {
		tell_typed(command, typed, err);
		return command_fail(err->text, client_exit(r), command->json);
	}
	if (command->json)
		printf("{\"typed\": %zu}\n", typed);
	return 0;
}

static int send_keys(int argc, char **argv, const char *method)
{
	struct display_command command = {.method = method, .strokes = json_array()};
	struct error err;
	int r = options_parse(key_options, ARRAY_LENGTH(key_options), argc, argv, set_key, &command,
			      &err);

	r = type(&command, r, &err);
	json_decref(command.strokes);
	return r;
}

int command_send_key(int argc, char **argv)
{
	return send_keys(argc, argv, "io.bulkhead.VM.TypeKeys");
}

int command_vm_type(int argc, char **argv)
{
	return send_keys(argc, argv, "io.bulkhead.VMMS.TypeKeys");
}

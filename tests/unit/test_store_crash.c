#include "store_place.h"
#include "suite.h"

/*
 * What is left of the definitions when the host loses its power, or the daemon is killed, at any
 * moment.  Everything that is done to the directory is recorded; then the directory is put into
 * states that could have been left: each name has what was last flushed, or anything that came
 * later, and each file that was not flushed a part of its bytes.  The store is opened there: each
 * VM must have what was last promised, or what was being written, and no file may be broken.
 */

#define OPERATIONS 40
#define EVENTS_MAX 1000
#define FILES_MAX  200
#define NAMES_MAX  40
#define VMS	   3
#define DRAWS	   4
#define BYTES_MAX  2048
#define NO_FILE	   -1

enum kind { WRITE, SYNC_FILE, SYNC_DIRECTORY, NAMES };

/* An event; names change in it as one call may change two. */
struct event {
	enum kind kind;
	int file;
	size_t length; /* WRITE: of the file, afterwards */
	struct {
		int name, file;
	} changes[2];
	int change_count;
};

struct operation {
	unsigned int vm;
	int before, after; /* values; -1: no such VM */
	int end;	   /* events until it was promised */
};

static struct event events[EVENTS_MAX];
static int event_count;
static struct operation operations[OPERATIONS];
static char bytes[FILES_MAX][BYTES_MAX];
static size_t lengths[FILES_MAX];
static int file_count;
static char names[NAMES_MAX][64];
static int name_count;
static int now[NAMES_MAX]; /* which file each name has */
static int open_fd = -1, open_file;
static bool skip_file_sync, skip_directory_sync;
static bool no_exchange; /* as on a file system that knows none */
static uint32_t seed;

static uint32_t draw(uint32_t below)
{
	seed = seed * 1664525u + 1013904223u;
	return (seed >> 8) % below;
}

static struct event *record(enum kind kind)
{
	ck_assert_int_lt(event_count, EVENTS_MAX);
	events[event_count] = (struct event){.kind = kind};
	return &events[event_count++];
}

static int name_of(const char *name)
{
	for (int i = 0; i < name_count; i++) {
		if (!strcmp(names[i], name))
			return i;
	}
	ck_assert_int_lt(name_count, NAMES_MAX);
	strcpy(names[name_count], name);
	now[name_count] = NO_FILE;
	return name_count++;
}

static void change(struct event *event, int name, int file)
{
	event->changes[event->change_count].name = name;
	event->changes[event->change_count++].file = file;
	now[name] = file;
}

static int recorded_create(int directory, const char *name)
{
	int fd = store_host_calls.create(directory, name);

	if (fd < 0)
		return fd;
	ck_assert_int_lt(file_count, FILES_MAX);
	open_fd = fd;
	open_file = file_count++;
	change(record(NAMES), name_of(name), open_file);
	return fd;
}

/* In pieces, so that there are moments between them. */
static ssize_t recorded_write(int fd, const void *data, size_t size)
{
	ssize_t done = write(fd, data, size < 300 ? size : 300);
	struct event *event = record(WRITE);

	ck_assert_int_eq(fd, open_fd);
	ck_assert_int_gt(done, 0);
	ck_assert_uint_le(lengths[open_file] + (size_t)done, BYTES_MAX);
	memcpy(bytes[open_file] + lengths[open_file], data, (size_t)done);
	lengths[open_file] += (size_t)done;
	event->file = open_file;
	event->length = lengths[open_file];
	return done;
}

static int recorded_sync(int fd)
{
	bool is_file = fd == open_fd;

	open_fd = is_file ? -1 : open_fd;
	if (is_file ? skip_file_sync : skip_directory_sync)
		return 0;
	record(is_file ? SYNC_FILE : SYNC_DIRECTORY)->file = open_file;
	return 0;
}

static int recorded_rename(int directory, const char *from, const char *to, unsigned int flags)
{
	int r = flags && no_exchange ? -1 : store_host_calls.rename(directory, from, to, flags);
	int source = name_of(from), target = name_of(to);
	int file = now[source], other = now[target];
	struct event *event;

	if (r)
		return r;
	event = record(NAMES);
	change(event, target, file);
	change(event, source, flags == RENAME_EXCHANGE ? other : NO_FILE);
	return 0;
}

static int recorded_remove(int directory, const char *name)
{
	int r = store_host_calls.remove(directory, name);

	if (!r)
		change(record(NAMES), name_of(name), NO_FILE);
	return r;
}

static int unrecorded_open(int directory, const char *name)
{
	return store_host_calls.open(directory, name);
}

static const struct store_calls recorded = {
	.open = unrecorded_open,
	.create = recorded_create,
	.write = recorded_write,
	.sync = recorded_sync,
	.rename = recorded_rename,
	.remove = recorded_remove,
};

static void run_operations(const struct place *place)
{
	struct store *store = place_store(place, &recorded);
	int values[VMS] = {-1, -1, -1};
	char uuid[37];

	for (int i = 0; i < OPERATIONS; i++) {
		struct operation *operation = &operations[i];

		operation->vm = draw(VMS);
		operation->before = values[operation->vm];
		operation->after = draw(5) ? i : -1;
		if (operation->after < 0) {
			place_uuid(operation->vm, uuid);
			ck_assert(!store_remove(store, uuid, NULL));
		} else {
			ck_assert(!place_write(store, operation->vm, i));
		}
		values[operation->vm] = operation->after;
		operation->end = event_count;
	}
	store_close(store);
}

/* Which file a name has after a crash: what was flushed, or any that it had later. */
static int draw_file(int name, int moment)
{
	int choices[EVENTS_MAX] = {NO_FILE};
	uint32_t count = 1;

	for (int i = 0; i < moment; i++) {
		if (events[i].kind == SYNC_DIRECTORY) {
			choices[0] = choices[count - 1];
			count = 1;
		}
		for (int c = 0; c < events[i].change_count; c++) {
			if (events[i].changes[c].name == name)
				choices[count++] = events[i].changes[c].file;
		}
	}
	return choices[draw(3) ? count - 1 : draw(count)];
}

/* How much of a file is left: all that was flushed, and some of what was not. */
static size_t draw_length(int file, int moment)
{
	size_t flushed = 0, written = 0;

	for (int i = 0; i < moment; i++) {
		if (events[i].file != file)
			continue;
		if (events[i].kind == WRITE)
			written = events[i].length;
		else if (events[i].kind == SYNC_FILE)
			flushed = written;
	}
	return flushed + draw((uint32_t)(written - flushed + 1));
}

/* The same where nobody lost anything but the daemon its life. */
static int last_file(int name, int moment)
{
	int file = NO_FILE;

	for (int i = 0; i < moment; i++) {
		for (int c = 0; c < events[i].change_count; c++) {
			if (events[i].changes[c].name == name)
				file = events[i].changes[c].file;
		}
	}
	return file;
}

static size_t last_length(int file, int moment)
{
	size_t length = 0;

	for (int i = 0; i < moment; i++) {
		if (events[i].kind == WRITE && events[i].file == file)
			length = events[i].length;
	}
	return length;
}

static void leave(const struct place *place, int moment, bool killed)
{
	for (int name = 0; name < name_count; name++) {
		int file = killed ? last_file(name, moment) : draw_file(name, moment);

		if (file != NO_FILE)
			place_put(place, names[name], bytes[file],
				  killed ? last_length(file, moment) : draw_length(file, moment));
	}
}

/* Whether a VM has what it may have at that moment. */
static bool is_right(unsigned int vm, int value, int moment)
{
	int promised = -1, begin = 0;

	for (int i = 0; i < OPERATIONS; i++) {
		const struct operation *operation = &operations[i];

		if (operation->vm == vm && operation->end <= moment)
			promised = operation->after;
		else if (operation->vm == vm && begin < moment && value == operation->after)
			return true;
		begin = operation->end;
	}
	return value == promised;
}

static unsigned int count_wrong(const struct place *place, int moment)
{
	struct found found;
	unsigned int wrong;

	place_reload(place, &found);
	wrong = found.aside;
	for (unsigned int vm = 0; vm < VMS; vm++)
		wrong += !is_right(vm, found.values[vm], moment);
	for (int name = 0; name < name_count; name++)
		wrong += names[name][0] == '.' && place_has(place, names[name]);
	place_empty(place);
	return wrong;
}

/* How much is wrong in all the states that a crash could leave. */
static unsigned int replay(uint32_t first_seed)
{
	unsigned int wrong = 0;
	struct place place;

	seed = first_seed;
	place_make(&place);
	run_operations(&place);
	place_empty(&place);
	for (int moment = 0; moment <= event_count; moment++) {
		for (unsigned int i = 0; i < DRAWS; i++) {
			leave(&place, moment, i == 0);
			wrong += count_wrong(&place, moment);
		}
	}
	place_remove(&place);
	return wrong;
}

START_TEST(a_crash_leaves_the_old_or_the_new)
{
	ck_assert_uint_eq(replay((uint32_t)_i), 0);
	ck_assert_int_gt(event_count, 100);
}
END_TEST

START_TEST(no_file_system_needs_to_exchange)
{
	no_exchange = true;
	ck_assert_uint_eq(replay((uint32_t)_i), 0);
}
END_TEST

/* The replay is worth something: it finds what is wrong with a store that does not flush. */
START_TEST(a_file_not_flushed_is_found)
{
	skip_file_sync = true;
	ck_assert_uint_gt(replay(1), 0);
}
END_TEST

START_TEST(a_directory_not_flushed_is_found)
{
	skip_directory_sync = true;
	ck_assert_uint_gt(replay(1), 0);
}
END_TEST

int main(void)
{
	TCase *test_case;
	Suite *suite = suite_of("store_crash", &test_case);

	tcase_set_timeout(test_case, 120);
	tcase_add_loop_test(test_case, a_crash_leaves_the_old_or_the_new, 0, 3);
	tcase_add_test(test_case, no_file_system_needs_to_exchange);
	tcase_add_test(test_case, a_file_not_flushed_is_found);
	tcase_add_test(test_case, a_directory_not_flushed_is_found);
	return suite_run(suite);
}

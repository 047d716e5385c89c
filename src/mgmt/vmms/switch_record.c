#include "mgmt/vmms/switch_record.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <jansson.h>

#include "base/cleanup.h"
#include "mgmt/vmms/switch_subnet.h"

#define RECORD_BYTES   4096
#define RECORD_VERSION 1
#define BOOT_ID	       "/proc/sys/kernel/random/boot_id"

static void read_boot_id(char text[64])
{
	CLEANUP_CLOSE int fd = open(BOOT_ID, O_RDONLY | O_CLOEXEC);
	ssize_t length = fd < 0 ? 0 : read(fd, text, 63);

	text[length < 0 ? 0 : length] = '\0';
	text[strcspn(text, "\n")] = '\0';
}

/* A new reference, NULL for none.  What is no file (a FIFO, say) is not waited for. */
static json_t *load(int directory, const char *path)
{
	CLEANUP_CLOSE int fd =
		openat(directory, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	char text[RECORD_BYTES + 1];
	struct stat status;
	ssize_t length;

	if (fd < 0 || fstat(fd, &status) || !S_ISREG(status.st_mode))
		return NULL;
	length = read(fd, text, RECORD_BYTES);
	if (length <= 0)
		return NULL;
	text[length] = '\0';
	return json_loads(text, JSON_REJECT_DUPLICATES, NULL);
}

static bool copy_name(const json_t *value, char name[IFNAMSIZ])
{
	const char *text = json_string_value(value);

	if (!text || !*text || strlen(text) >= IFNAMSIZ || strchr(text, '/'))
		return false;
	snprintf(name, IFNAMSIZ, "%s", text);
	return true;
}

static void read_guarded(const json_t *list, struct switch_record *record)
{
	size_t i;
	json_t *value;

	json_array_foreach(list, i, value)
	{
		if (record->guarded_count < SWITCH_GUARDED_MAX &&
		    copy_name(value, record->guarded[record->guarded_count]))
			record->guarded_count++;
	}
}

void switch_record_read(int directory, const char *path, struct switch_record *record)
{
	json_t *json = load(directory, path);
	char boot_id[64] = "";
	const char *subnet;
	const char *boot;
	json_t *guarded;
	json_t *bridge;
	json_int_t start;
	int version;
	int pid;

	*record = (struct switch_record){.subnet = 0};
	read_boot_id(boot_id);
	if (!json_unpack(json, "{s:i, s:s, s:o, s:s, s:i, s:I, s:o}", "version", &version,
			 "boot_id", &boot, "bridge", &bridge, "subnet", &subnet, "dnsmasq", &pid,
			 "dnsmasq_start", &start, "guarded", &guarded) &&
	    version == RECORD_VERSION && !strcmp(boot, boot_id) &&
	    !switch_subnet_parse(subnet, &record->subnet) && copy_name(bridge, record->bridge)) {
		record->dhcp = (struct switch_dhcp_process){pid, (uint64_t)start};
		read_guarded(guarded, record);
	}
	json_decref(json);
}

static json_t *record_json(const struct switch_record *record)
{
	char boot_id[64] = "";
	char subnet[SWITCH_SUBNET_TEXT_SIZE];
	json_t *guarded = json_array();

	read_boot_id(boot_id);
	switch_subnet_format(record->subnet, subnet);
	for (unsigned int i = 0; i < record->guarded_count; i++)
		json_array_append_new(guarded, json_string(record->guarded[i]));
	return json_pack("{s:i, s:s, s:s, s:s, s:i, s:I, s:o}", "version", RECORD_VERSION,
			 "boot_id", boot_id, "bridge", record->bridge, "subnet", subnet, "dnsmasq",
			 (int)record->dhcp.pid, "dnsmasq_start", (json_int_t)record->dhcp.start,
			 "guarded", guarded);
}

/* One write of all of it: whoever is killed meanwhile leaves the old or the new. */
static int write_blocks(int fd, const json_t *json)
{
	char text[RECORD_BYTES];
	size_t length = json_dumpb(json, text, sizeof(text), JSON_COMPACT);
	int r;

	if (!length || length > sizeof(text))
		return -ENOMEM;
	memset(text + length, ' ', sizeof(text) - length);
	r = -posix_fallocate(fd, 0, sizeof(text));
	if (r)
		return r;
	return pwrite(fd, text, sizeof(text), 0) == (ssize_t)sizeof(text) ? 0 : -EIO;
}

int switch_record_write(const char *path, const struct switch_record *record, struct error *err)
{
	CLEANUP_CLOSE int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	json_t *json;
	int r;

	if (fd < 0)
		return error_host(err, errno, "cannot write %.300s", path);
	json = record_json(record);
	r = write_blocks(fd, json);
	json_decref(json);
	return r ? error_host(err, -r, "cannot write %.300s", path) : 0;
}

uint32_t switch_subnet_read(const char *path)
{
	json_t *json = load(AT_FDCWD, path);
	uint32_t subnet = 0;
	const char *text;

	if (!json_unpack(json, "{s:s}", "subnet", &text) &&
	    (switch_subnet_parse(text, &subnet) || !switch_subnet_possible(subnet)))
		subnet = 0;
	json_decref(json);
	return subnet;
}

static int write_whole(const char *path, const char *text)
{
	CLEANUP_CLOSE int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	ssize_t length = (ssize_t)strlen(text);

	if (fd < 0)
		return -errno;
	if (write(fd, text, (size_t)length) != length)
		return errno ? -errno : -EIO;
	return fsync(fd) ? -errno : 0;
}

int switch_subnet_write(const char *path, uint32_t subnet)
{
	char temporary[PATH_MAX];
	char text[SWITCH_SUBNET_TEXT_SIZE];
	char line[64];
	int r;

	switch_subnet_format(subnet, text);
	snprintf(line, sizeof(line), "{\"version\": 1, \"subnet\": \"%s\"}\n", text);
	if (snprintf(temporary, sizeof(temporary), "%s.new", path) >= (int)sizeof(temporary))
		return -ENAMETOOLONG;
	r = write_whole(temporary, line);
	if (!r && rename(temporary, path))
		r = -errno;
	if (r)
		unlink(temporary);
	return r;
}

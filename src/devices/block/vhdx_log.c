#include "devices/block/vhdx.h"

#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/crc32c.h"
#include "base/wire.h"

/* The log as it lies in the file, while what is to be replayed is looked for. */
struct log {
	const struct vhdx *vhdx;
	uint8_t *data; /* twice: an entry that wraps is then whole */
	uint32_t length;
	uint32_t *entries; /* of each page the length of the sound entry that begins there, or 0 */
};

static const uint8_t *entry_at(const struct log *log, uint32_t offset)
{
	return log->data + offset;
}

static bool is_kind(const uint8_t *data, const char *signature)
{
	return memcmp(data, signature, 4) == 0;
}

static uint32_t descriptor_sectors(uint32_t count)
{
	return (VHDX_LOG_HEADER + count * VHDX_LOG_DESCRIPTOR + VHDX_PAGE - 1) / VHDX_PAGE;
}

static bool descriptor_sound(const uint8_t *descriptor, uint64_t sequence)
{
	uint64_t offset = get_le64(descriptor + VHDX_DESCRIPTOR_OFFSET);
	uint64_t length = get_le64(descriptor + VHDX_DESCRIPTOR_LEADING);

	if (get_le64(descriptor + VHDX_DESCRIPTOR_SEQUENCE) != sequence ||
	    !is_aligned(offset, VHDX_PAGE) || offset >= VHDX_FILE_MAX)
		return false;
	return is_kind(descriptor, VHDX_DESCRIPTOR_DATA) ||
	       (is_kind(descriptor, VHDX_DESCRIPTOR_ZERO) && is_aligned(length, VHDX_PAGE) &&
		range_within(offset, length, VHDX_FILE_MAX));
}

/* Cheap before dear: the checksum of what is an entry by its parts alone. */
static bool parts_sound(const uint8_t *entry, uint32_t length)
{
	uint64_t sequence = get_le64(entry + VHDX_LOG_SEQUENCE);
	uint32_t count = get_le32(entry + VHDX_LOG_DESCRIPTORS);
	uint32_t sector;

	if (count > length / VHDX_LOG_DESCRIPTOR || sequence == 0)
		return false;
	sector = descriptor_sectors(count);
	for (uint32_t i = 0; i < count; i++) {
		const uint8_t *descriptor = entry + VHDX_LOG_HEADER + i * VHDX_LOG_DESCRIPTOR;
		const uint8_t *data = entry + (size_t)sector * VHDX_PAGE;

		if (!descriptor_sound(descriptor, sequence))
			return false;
		if (is_kind(descriptor, VHDX_DESCRIPTOR_ZERO))
			continue;
		if (++sector > length / VHDX_PAGE || !is_kind(data, VHDX_LOG_DATA) ||
		    get_le32(data + VHDX_LOG_DATA_HIGH) != sequence >> 32 ||
		    get_le32(data + VHDX_LOG_DATA_LOW) != (uint32_t)sequence)
			return false;
	}
	return sector == length / VHDX_PAGE;
}

static bool checksum_sound(const uint8_t *entry, uint32_t length)
{
	static const uint8_t none[4];
	uint32_t crc = crc32c(0, entry, VHDX_LOG_CHECKSUM);

	crc = crc32c(crc, none, sizeof(none));
	crc = crc32c(crc, entry + VHDX_LOG_CHECKSUM + 4, length - VHDX_LOG_CHECKSUM - 4);
	return crc == get_le32(entry + VHDX_LOG_CHECKSUM);
}

/* The length of the sound entry at that offset, or 0. */
static uint32_t entry_length(const struct log *log, uint32_t offset)
{
	const uint8_t *entry = entry_at(log, offset);
	uint32_t length = get_le32(entry + VHDX_LOG_LENGTH);
	uint32_t tail = get_le32(entry + VHDX_LOG_TAIL);

	if (!is_kind(entry, VHDX_LOG_SIGNATURE) ||
	    memcmp(entry + VHDX_LOG_GUID, &log->vhdx->header.log, sizeof(struct guid)) != 0 ||
	    length < VHDX_PAGE || length > log->length || !is_aligned(length, VHDX_PAGE) ||
	    tail >= log->length || !is_aligned(tail, VHDX_PAGE))
		return 0;
	return parts_sound(entry, length) && checksum_sound(entry, length) ? length : 0;
}

static uint64_t sequence_at(const struct log *log, uint32_t offset)
{
	return get_le64(entry_at(log, offset) + VHDX_LOG_SEQUENCE);
}

/* How many entries lie from head's tail up to it, one after another, or 0. */
static unsigned int run_length(const struct log *log, uint32_t head)
{
	uint32_t at = get_le32(entry_at(log, head) + VHDX_LOG_TAIL);
	uint64_t sequence;
	unsigned int count = 1;

	if (!log->entries[at / VHDX_PAGE])
		return 0;
	sequence = sequence_at(log, at);
	while (at != head) {
		at = (at + log->entries[at / VHDX_PAGE]) % log->length;
		if (++count > log->length / VHDX_PAGE || !log->entries[at / VHDX_PAGE] ||
		    sequence_at(log, at) != ++sequence)
			return 0;
	}
	return count;
}

/* The newest entry that what it builds on is whole of: 1, or 0 where there is none. */
static unsigned int find_head(const struct log *log, uint32_t *head)
{
	uint64_t newest = 0;
	unsigned int count = 0;

	for (uint32_t at = 0; at < log->length; at += VHDX_PAGE) {
		unsigned int run;

		if (!log->entries[at / VHDX_PAGE] || sequence_at(log, at) <= newest)
			continue;
		run = run_length(log, at);
		if (run == 0)
			continue;
		newest = sequence_at(log, at);
		*head = at;
		count = run;
	}
	return count;
}

static int add_patch(struct vhdx_patches *patches, const uint8_t *descriptor, const uint8_t *data)
{
	struct vhdx_patch *patch = &patches->patches[patches->count];

	patch->offset = get_le64(descriptor + VHDX_DESCRIPTOR_OFFSET);
	patch->length = get_le64(descriptor + VHDX_DESCRIPTOR_LEADING);
	patch->page = NULL;
	if (is_kind(descriptor, VHDX_DESCRIPTOR_DATA)) {
		patch->length = VHDX_PAGE;
		patch->page = aligned_alloc(VHDX_PAGE, VHDX_PAGE);
		if (!patch->page)
			return -ENOMEM;
		memcpy(patch->page, data, VHDX_PAGE);
		memcpy(patch->page, descriptor + VHDX_DESCRIPTOR_LEADING, 8);
		memcpy(patch->page + VHDX_PAGE - 4, descriptor + VHDX_DESCRIPTOR_TRAILING, 4);
	}
	patches->count++;
	return 0;
}

static int take_entry(const struct log *log, uint32_t offset, struct vhdx_patches *patches)
{
	const uint8_t *entry = entry_at(log, offset);
	uint32_t count = get_le32(entry + VHDX_LOG_DESCRIPTORS);
	const uint8_t *data = entry + (size_t)descriptor_sectors(count) * VHDX_PAGE;
	struct vhdx_patch *more =
		realloc(patches->patches, ((size_t)patches->count + count + 1) * sizeof(*more));

	if (!more)
		return -ENOMEM;
	patches->patches = more;
	for (uint32_t i = 0; i < count; i++) {
		const uint8_t *descriptor = entry + VHDX_LOG_HEADER + i * VHDX_LOG_DESCRIPTOR;
		int r = add_patch(patches, descriptor, data);

		if (r < 0)
			return r;
		if (is_kind(descriptor, VHDX_DESCRIPTOR_DATA))
			data += VHDX_PAGE;
	}
	patches->sequence = get_le64(entry + VHDX_LOG_SEQUENCE);
	patches->file_bytes = get_le64(entry + VHDX_LOG_LAST);
	return 0;
}

static int cut_off(const struct log *log, uint64_t flushed, struct error *err)
{
	if (flushed <= log->vhdx->file_bytes)
		return 0;
	return error_set(err, EINVAL,
			 "%s: the file is shorter than its log says it was, so it was cut off; "
			 "restore it from a copy",
			 log->vhdx->image.name);
}

static int take_run(const struct log *log, uint32_t head, unsigned int count,
		    struct vhdx_patches *patches, struct error *err)
{
	uint32_t at = get_le32(entry_at(log, head) + VHDX_LOG_TAIL);
	int r = cut_off(log, get_le64(entry_at(log, head) + VHDX_LOG_FLUSHED), err);

	for (; count > 0 && r == 0; count--) {
		r = take_entry(log, at, patches);
		if (r < 0)
			return error_memory(err, "a disk");
		at = (at + log->entries[at / VHDX_PAGE]) % log->length;
	}
	if (r == 0 && patches->file_bytes > VHDX_FILE_MAX)
		return error_set(err, EINVAL,
				 "%s: its log is not sound; restore the file from a "
				 "copy",
				 log->vhdx->image.name);
	return r;
}

static int load(struct log *log, struct image_file *file, struct vhdx_patches *patches,
		struct error *err)
{
	uint32_t head;
	unsigned int count;
	int r = image_file_read(file, log->vhdx->header.log_offset, log->data, log->length);

	if (r < 0)
		return error_set(err, -r, "%s: its log cannot be read: %s; the file may be cut off",
				 log->vhdx->image.name, strerror(-r));
	memcpy(log->data + log->length, log->data, log->length);
	for (uint32_t at = 0; at < log->length; at += VHDX_PAGE)
		log->entries[at / VHDX_PAGE] = entry_length(log, at);
	count = find_head(log, &head);
	return count ? take_run(log, head, count, patches, err) : 0;
}

int vhdx_log_load(struct vhdx *vhdx, struct image_file *file, struct vhdx_patches *patches,
		  struct error *err)
{
	static const struct guid none;
	CLEANUP_FREE uint8_t *data = NULL;
	CLEANUP_FREE uint32_t *entries = NULL;
	struct log log = {.vhdx = vhdx, .length = vhdx->header.log_length};

	if (guid_equal(&vhdx->header.log, &none))
		return 0;
	log.data = data = malloc(2 * (size_t)log.length);
	log.entries = entries = calloc(log.length / VHDX_PAGE, sizeof(*entries));
	if (!data || !entries)
		return error_memory(err, "a disk");
	return load(&log, file, patches, err);
}

void vhdx_patches_free(struct vhdx_patches *patches)
{
	for (unsigned int i = 0; i < patches->count; i++)
		free(patches->patches[i].page);
	free(patches->patches);
	*patches = (struct vhdx_patches){.patches = NULL};
}

/* *end: of what may not be zero.  A log may name zeros up to the format's last byte; only those
 * before it are written. */
static int apply_patch(struct image_file *file, const struct vhdx_patch *patch, uint64_t *end)
{
	if (patch->page) {
		*end = MAX(*end, patch->offset + VHDX_PAGE);
		return image_file_write(file, patch->offset, patch->page, VHDX_PAGE);
	}
	if (patch->offset >= *end || patch->length == 0)
		return 0;
	return image_file_zero(file, patch->offset, MIN(patch->length, *end - patch->offset));
}

int vhdx_log_replay(struct vhdx *vhdx, struct image_file *file, const struct vhdx_patches *patches)
{
	struct vhdx_header header = vhdx->header;
	uint64_t end = vhdx->file_bytes;
	int r = 0;

	if (patches->file_bytes > vhdx->file_bytes) {
		r = file->ops->truncate(file, patches->file_bytes);
		if (r < 0)
			return r;
		vhdx->file_bytes = patches->file_bytes;
	}
	for (unsigned int i = 0; i < patches->count && r == 0; i++)
		r = apply_patch(file, &patches->patches[i], &end);
	if (r == 0)
		r = image_file_flush(file);
	if (r < 0)
		return r;
	memset(&header.log, 0, sizeof(header.log));
	return vhdx_write_header(vhdx, file, &header);
}

int vhdx_patched_read(const struct vhdx_patches *patches, struct image_file *file, uint64_t offset,
		      void *data, size_t length)
{
	int r = image_file_read(file, offset, data, length);

	if (r < 0)
		return r;
	for (unsigned int i = 0; i < patches->count; i++) {
		const struct vhdx_patch *patch = &patches->patches[i];
		uint64_t begin = MAX(offset, patch->offset);
		uint64_t end = MIN(offset + length, patch->offset + patch->length);
		uint8_t *to = (uint8_t *)data + (begin - offset);

		if (begin >= end)
			continue;
		if (patch->page)
			memcpy(to, patch->page + (begin - patch->offset), end - begin);
		else
			memset(to, 0, end - begin);
	}
	return 0;
}

/* An entry that stands alone: all before it is in place, and stable. */
static void format_entry(const struct vhdx *vhdx, const struct guid *guid,
			 const struct vhdx_page *pages, unsigned int count, uint8_t *entry)
{
	uint32_t length = (1 + count) * VHDX_PAGE;
	uint64_t sequence = vhdx->log_sequence;

	memset(entry, 0, length);
	memcpy(entry, VHDX_LOG_SIGNATURE, 4);
	put_le32(entry + VHDX_LOG_LENGTH, length);
	put_le32(entry + VHDX_LOG_TAIL, vhdx->log_head);
	put_le64(entry + VHDX_LOG_SEQUENCE, sequence);
	put_le32(entry + VHDX_LOG_DESCRIPTORS, count);
	memcpy(entry + VHDX_LOG_GUID, guid, sizeof(*guid));
	put_le64(entry + VHDX_LOG_FLUSHED, vhdx->file_bytes);
	put_le64(entry + VHDX_LOG_LAST, vhdx->file_bytes);
	for (unsigned int i = 0; i < count; i++) {
		uint8_t *descriptor = entry + VHDX_LOG_HEADER + i * VHDX_LOG_DESCRIPTOR;
		uint8_t *sector = entry + (1 + i) * VHDX_PAGE;

		memcpy(descriptor, VHDX_DESCRIPTOR_DATA, 4);
		memcpy(descriptor + VHDX_DESCRIPTOR_TRAILING, pages[i].data + VHDX_PAGE - 4, 4);
		memcpy(descriptor + VHDX_DESCRIPTOR_LEADING, pages[i].data, 8);
		put_le64(descriptor + VHDX_DESCRIPTOR_OFFSET, pages[i].offset);
		put_le64(descriptor + VHDX_DESCRIPTOR_SEQUENCE, sequence);
		memcpy(sector, pages[i].data, VHDX_PAGE);
		memcpy(sector, VHDX_LOG_DATA, 4);
		put_le32(sector + VHDX_LOG_DATA_HIGH, (uint32_t)(sequence >> 32));
		put_le32(sector + VHDX_LOG_DATA_LOW, (uint32_t)sequence);
	}
	put_le32(entry + VHDX_LOG_CHECKSUM, crc32c(0, entry, length));
}

static int write_in_place(struct image_file *file, const struct vhdx_page *pages,
			  unsigned int count)
{
	struct iovec iov[VHDX_LOG_PAGES_MAX];
	struct image_write writes[VHDX_LOG_PAGES_MAX];

	for (unsigned int i = 0; i < count; i++) {
		iov[i] = (struct iovec){.iov_base = (void *)pages[i].data, .iov_len = VHDX_PAGE};
		writes[i] = (struct image_write){.offset = pages[i].offset,
						 .length = VHDX_PAGE,
						 .iov = &iov[i],
						 .iov_count = 1};
	}
	file->ops->write(file, writes, count);
	for (unsigned int i = 0; i < count; i++)
		if (writes[i].result < 0)
			return writes[i].result;
	return 0;
}

static int write_entry(struct vhdx *vhdx, struct image_file *file, const struct guid *guid,
		       const struct vhdx_page *pages, unsigned int count)
{
	uint32_t length = (1 + count) * VHDX_PAGE;
	CLEANUP_FREE uint8_t *entry = aligned_alloc(VHDX_PAGE, length);
	int r;

	if (!entry)
		return -ENOMEM;
	/* None wraps: where the log ends before it, it goes to the beginning. */
	if (length > vhdx->header.log_length - vhdx->log_head)
		vhdx->log_head = 0;
	vhdx->log_sequence++;
	format_entry(vhdx, guid, pages, count, entry);
	r = image_file_write(file, vhdx->header.log_offset + vhdx->log_head, entry, length);
	if (r == 0)
		r = image_file_flush(file);
	if (r == 0)
		vhdx->log_head = (vhdx->log_head + length) % vhdx->header.log_length;
	return r;
}

/* The header names the log only when there is an entry in it. */
static int begin_log(struct vhdx *vhdx, struct image_file *file, const struct guid *guid)
{
	struct vhdx_header header = vhdx->header;
	int r;

	header.log = *guid;
	r = vhdx_write_header(vhdx, file, &header);
	if (r == 0)
		vhdx->logging = true;
	return r;
}

int vhdx_log_settle(struct vhdx *vhdx, struct image_file *file)
{
	int r;

	if (!vhdx->unplaced)
		return 0;
	r = write_in_place(file, vhdx->unplaced, vhdx->unplaced_count);
	if (r < 0)
		return r;
	free(vhdx->unplaced);
	vhdx->unplaced = NULL;
	return 0;
}

/* What the log has and the file has not would be lost with the log's next entry. */
static int make_room(struct vhdx *vhdx, struct image_file *file)
{
	int r;

	if (!vhdx->unplaced)
		return 0;
	r = vhdx_log_settle(vhdx, file);
	return r < 0 ? r : image_file_flush(file);
}

int vhdx_log_commit(struct vhdx *vhdx, struct image_file *file, struct vhdx_page **pages,
		    unsigned int count)
{
	struct guid guid = vhdx->header.log;
	int r = make_room(vhdx, file);

	if (r == 0 && !vhdx->logging)
		r = guid_random(&guid);
	if (r == 0)
		r = write_entry(vhdx, file, &guid, *pages, count);
	if (r == 0 && !vhdx->logging)
		r = begin_log(vhdx, file, &guid);
	if (r < 0)
		return r;
	/* It is done now, for whoever opens the file would find it in the log. */
	if (write_in_place(file, *pages, count) < 0) {
		vhdx->unplaced = TAKE_POINTER(*pages);
		vhdx->unplaced_count = count;
	}
	return 0;
}

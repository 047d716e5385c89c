#include "devices/chipset/fw_cfg.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/wire.h"

#define KEY_MASK       0x3fffu /* bit 14 asks to write, which no item allows */
#define ITEMS	       (FW_CFG_FIRST_FILE + FW_CFG_FILES_MAX)
#define SELECTOR_PORTS 2u
#define DMA_PORTS      8u
#define DMA_LOW	       4u   /* from the first of them; the write there starts a transfer */
#define FEATURES       0x3u /* the two ports, and DMA */

/* The control word of a transfer; its upper half is a key where it selects. */
#define DMA_ERROR     0x01u
#define DMA_READ      0x02u
#define DMA_SKIP      0x04u
#define DMA_SELECT    0x08u
#define DMA_WRITE     0x10u
#define DMA_KEY_SHIFT 16

/* What a guest asks for, all big-endian. */
struct __attribute__((packed)) dma_request {
	uint32_t control;
	uint32_t length;
	uint64_t address;
};
_Static_assert(sizeof(struct dma_request) == 16, "fw_cfg DMA request");

struct __attribute__((packed)) directory_entry {
	uint32_t size;
	uint16_t key;
	uint16_t reserved;
	char name[FW_CFG_NAME_SIZE];
};
_Static_assert(sizeof(struct directory_entry) == 64, "fw_cfg directory entry");

struct __attribute__((packed)) directory {
	uint32_t count;
	struct directory_entry entries[FW_CFG_FILES_MAX];
};

struct item {
	uint8_t *data;
	uint32_t size;
};

struct fw_cfg {
	struct io_bus *ports;
	struct gpa_space *gpa;
	struct item items[2][ITEMS]; /* everybody's, and the architecture's */
	struct directory directory;
	unsigned int file_count;
	pthread_mutex_t lock; /* everything below, among VPs; a leaf */
	uint16_t key;
	uint32_t offset; /* of the next byte, never beyond the item */
	uint32_t dma_high;
};

/* NULL for a key that no item can have. */
static struct item *place_of(struct fw_cfg *fw_cfg, uint16_t key)
{
	unsigned int index = key & KEY_MASK;

	return index < ITEMS ? &fw_cfg->items[key & FW_CFG_ARCH_LOCAL ? 1 : 0][index] : NULL;
}

/* The selected item; one that is not there is empty, and reads as zeroes. */
static struct item selected(struct fw_cfg *fw_cfg)
{
	const struct item *item = place_of(fw_cfg, fw_cfg->key);

	return item ? *item : (struct item){NULL, 0};
}

static void select_key(struct fw_cfg *fw_cfg, uint16_t key)
{
	fw_cfg->key = key;
	fw_cfg->offset = 0;
}

static uint8_t next_byte(struct fw_cfg *fw_cfg)
{
	struct item item = selected(fw_cfg);

	return fw_cfg->offset < item.size ? item.data[fw_cfg->offset++] : 0;
}

/* As much of the item as is left, and zeroes for the rest; nothing unless all of it is RAM. */
static int copy_to_guest(struct fw_cfg *fw_cfg, uint64_t address, uint32_t length)
{
	struct item item = selected(fw_cfg);
	uint32_t left = MIN(length, item.size - fw_cfg->offset);
	int r;

	if (length > FW_CFG_ITEM_MAX)
		return -E2BIG;
	if (length == 0)
		return 0;
	if (!gpa_is_ram(fw_cfg->gpa, address, length))
		return -EFAULT;
	r = left ? gpa_write(fw_cfg->gpa, address, item.data + fw_cfg->offset, left) : 0;
	if (r == 0 && left < length)
		r = gpa_fill(fw_cfg->gpa, address + left, 0, length - left);
	if (r == 0)
		fw_cfg->offset += left;
	return r;
}

static void skip(struct fw_cfg *fw_cfg, uint32_t length)
{
	fw_cfg->offset += MIN(length, selected(fw_cfg).size - fw_cfg->offset);
}

static int transfer(struct fw_cfg *fw_cfg, const struct dma_request *request)
{
	uint32_t control = be32toh(request->control);
	uint32_t length = be32toh(request->length);

	if (control & DMA_SELECT)
		select_key(fw_cfg, (uint16_t)(control >> DMA_KEY_SHIFT));
	if (control & DMA_READ)
		return copy_to_guest(fw_cfg, be64toh(request->address), length);
	if (control & DMA_WRITE)
		return length ? -EROFS : 0;
	if (control & DMA_SKIP)
		skip(fw_cfg, length);
	return 0;
}

/* The guest waits for the control word to change; a request that is not in RAM has none. */
static void start_dma(struct fw_cfg *fw_cfg, uint64_t address)
{
	struct dma_request request;
	uint32_t status;

	if (gpa_read(fw_cfg->gpa, address, &request, sizeof(request)) < 0)
		return;
	status = htobe32(transfer(fw_cfg, &request) < 0 ? DMA_ERROR : 0);
	gpa_write(fw_cfg->gpa, address, &status, sizeof(status));
}

static void write_dma(struct fw_cfg *fw_cfg, unsigned int offset, uint32_t value)
{
	uint64_t high = (uint64_t)fw_cfg->dma_high << 32;

	if (offset != DMA_LOW) {
		fw_cfg->dma_high = value;
		return;
	}
	fw_cfg->dma_high = 0;
	start_dma(fw_cfg, high | value);
}

/* Reads show the signature, by which a guest knows that the registers are there. */
static void dma_access(void *context, struct io_access *access)
{
	static const char signature[DMA_PORTS + 1] = "QEMU CFG";
	struct fw_cfg *fw_cfg = context;
	uint8_t bytes[8] = {0};

	if (!access->write) {
		if (range_within(access->offset, access->size, DMA_PORTS))
			memcpy(bytes, &signature[access->offset], access->size);
		access->value = get_le64(bytes);
	} else if (access->size == sizeof(uint32_t) && access->offset % DMA_LOW == 0) {
		pthread_mutex_lock(&fw_cfg->lock);
		write_dma(fw_cfg, (unsigned int)access->offset, be32toh((uint32_t)access->value));
		pthread_mutex_unlock(&fw_cfg->lock);
	}
}

/* A selector is written whole; data is read by the byte. */
static void port_access(void *context, struct io_access *access)
{
	struct fw_cfg *fw_cfg = context;

	pthread_mutex_lock(&fw_cfg->lock);
	if (access->write && access->offset == 0 && access->size == sizeof(uint16_t))
		select_key(fw_cfg, (uint16_t)access->value);
	else if (!access->write)
		access->value = access->offset && access->size == 1 ? next_byte(fw_cfg) : 0;
	pthread_mutex_unlock(&fw_cfg->lock);
}

static int put_item(struct item *item, const void *data, size_t size)
{
	if (size > FW_CFG_ITEM_MAX)
		return -E2BIG;
	if (item->data)
		return -EEXIST;
	item->data = malloc(size ? size : 1);
	if (!item->data)
		return -ENOMEM;
	if (size)
		memcpy(item->data, data, size);
	item->size = (uint32_t)size;
	return 0;
}

int fw_cfg_add(struct fw_cfg *fw_cfg, uint16_t key, const void *data, size_t size)
{
	struct item *item = place_of(fw_cfg, key);
	bool file = (key & KEY_MASK) >= FW_CFG_FIRST_FILE;

	return item && !file ? put_item(item, data, size) : -EINVAL;
}

static bool has_file(const struct fw_cfg *fw_cfg, const char *name)
{
	for (unsigned int i = 0; i < fw_cfg->file_count; i++) {
		if (strcmp(fw_cfg->directory.entries[i].name, name) == 0)
			return true;
	}
	return false;
}

/* The directory's item is the directory itself, as far as it is filled. */
static void show_directory(struct fw_cfg *fw_cfg)
{
	struct item *item = place_of(fw_cfg, FW_CFG_DIRECTORY);

	fw_cfg->directory.count = htobe32(fw_cfg->file_count);
	item->data = (uint8_t *)&fw_cfg->directory;
	item->size = (uint32_t)(sizeof(fw_cfg->directory.count) +
				fw_cfg->file_count * sizeof(struct directory_entry));
}

int fw_cfg_add_file(struct fw_cfg *fw_cfg, const char *name, const void *data, size_t size)
{
	uint16_t key = (uint16_t)(FW_CFG_FIRST_FILE + fw_cfg->file_count);
	struct directory_entry *entry;
	size_t length = strlen(name);
	int r;

	if (length == 0 || length >= FW_CFG_NAME_SIZE)
		return -EINVAL;
	if (has_file(fw_cfg, name))
		return -EEXIST;
	if (fw_cfg->file_count == FW_CFG_FILES_MAX)
		return -ENOSPC;
	r = put_item(place_of(fw_cfg, key), data, size);
	if (r < 0)
		return r;
	entry = &fw_cfg->directory.entries[fw_cfg->file_count++];
	entry->size = htobe32((uint32_t)size);
	entry->key = htobe16(key);
	memcpy(entry->name, name, length);
	show_directory(fw_cfg);
	return 0;
}

static int add_ports(struct fw_cfg *fw_cfg)
{
	int r = io_bus_add(fw_cfg->ports, FW_CFG_PORT_SELECTOR, SELECTOR_PORTS, port_access,
			   fw_cfg);

	if (r < 0)
		return r;
	r = io_bus_add(fw_cfg->ports, FW_CFG_PORT_DMA, DMA_PORTS, dma_access, fw_cfg);
	if (r < 0)
		io_bus_remove(fw_cfg->ports, FW_CFG_PORT_SELECTOR);
	return r;
}

static void free_items(struct fw_cfg *fw_cfg)
{
	place_of(fw_cfg, FW_CFG_DIRECTORY)->data = NULL;
	for (unsigned int i = 0; i < ITEMS; i++) {
		free(fw_cfg->items[0][i].data);
		free(fw_cfg->items[1][i].data);
	}
	pthread_mutex_destroy(&fw_cfg->lock);
	free(fw_cfg);
}

int fw_cfg_new(struct io_bus *ports, struct gpa_space *gpa, struct fw_cfg **out)
{
	struct fw_cfg *fw_cfg = calloc(1, sizeof(*fw_cfg));
	const uint32_t features = htole32(FEATURES);
	int r;

	if (!fw_cfg)
		return -ENOMEM;
	fw_cfg->ports = ports;
	fw_cfg->gpa = gpa;
	pthread_mutex_init(&fw_cfg->lock, NULL);
	show_directory(fw_cfg);
	r = fw_cfg_add(fw_cfg, FW_CFG_SIGNATURE, "QEMU", 4);
	if (r == 0)
		r = fw_cfg_add(fw_cfg, FW_CFG_ID, &features, sizeof(features));
	if (r == 0)
		r = add_ports(fw_cfg);
	if (r < 0) {
		free_items(fw_cfg);
		return r;
	}
	*out = fw_cfg;
	return 0;
}

void fw_cfg_free(struct fw_cfg *fw_cfg)
{
	if (!fw_cfg)
		return;
	io_bus_remove(fw_cfg->ports, FW_CFG_PORT_DMA);
	io_bus_remove(fw_cfg->ports, FW_CFG_PORT_SELECTOR);
	free_items(fw_cfg);
}

void fw_cfg_reset(struct fw_cfg *fw_cfg)
{
	select_key(fw_cfg, FW_CFG_SIGNATURE);
	fw_cfg->dma_high = 0;
}

void fw_cfg_save(struct fw_cfg *fw_cfg, struct state_writer *writer)
{
	state_put_u32(writer, "key", fw_cfg->key);
	state_put_u32(writer, "offset", fw_cfg->offset);
	state_put_u32(writer, "dma-high", fw_cfg->dma_high);
}

int fw_cfg_restore(struct fw_cfg *fw_cfg, const struct state_node *node)
{
	uint32_t key, offset, dma_high;
	int r = state_get_u32(node, "key", &key);

	if (r == 0)
		r = state_get_u32(node, "offset", &offset);
	if (r == 0)
		r = state_get_u32(node, "dma-high", &dma_high);
	if (r < 0)
		return r;
	if (key > UINT16_MAX)
		return -EINVAL;
	select_key(fw_cfg, (uint16_t)key);
	skip(fw_cfg, offset);
	fw_cfg->dma_high = dma_high;
	return 0;
}

#include "vmm/kvm_stats.h"

#include <errno.h>
#include <linux/kvm.h>
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/checked.h"

#define STATS_MAX 512u
#define NAME_SIZE 256u

struct kvm_stats {
	int fd;
	bool read; /* the header and descriptors were */
	struct kvm_stats_header header;
	char *descriptors; /* each a struct kvm_stats_desc with its name */
	uint64_t *values;
	size_t value_count;
};

int kvm_stats_new(int fd, struct kvm_stats **out)
{
	struct kvm_stats *stats = calloc(1, sizeof(*stats));

	if (!stats) {
		close(fd);
		return -ENOMEM;
	}
	stats->fd = fd;
	*out = stats;
	return 0;
}

static void forget_descriptors(struct kvm_stats *stats)
{
	free(stats->descriptors);
	free(stats->values);
	stats->descriptors = NULL;
	stats->values = NULL;
}

void kvm_stats_free(struct kvm_stats *stats)
{
	if (!stats)
		return;
	close(stats->fd);
	forget_descriptors(stats);
	free(stats);
}

static size_t descriptor_size(const struct kvm_stats *stats)
{
	return sizeof(struct kvm_stats_desc) + stats->header.name_size;
}

static const struct kvm_stats_desc *descriptor(const struct kvm_stats *stats, unsigned int index)
{
	return (const void *)(stats->descriptors + index * descriptor_size(stats));
}

static int read_at(int fd, void *data, size_t size, uint64_t offset)
{
	ssize_t done = pread(fd, data, size, (off_t)offset);

	if (done < 0)
		return -errno;
	return (size_t)done == size ? 0 : -EPROTO;
}

/* How many values there are, by the ends of all descriptors; 0: they make no sense. */
static size_t count_values(const struct kvm_stats *stats)
{
	size_t count = 0;

	for (unsigned int i = 0; i < stats->header.num_desc; i++) {
		const struct kvm_stats_desc *one = descriptor(stats, i);
		size_t end = one->offset / sizeof(uint64_t) + one->size;

		if (one->offset % sizeof(uint64_t) || end > 64 * STATS_MAX || !one->size ||
		    one->name[stats->header.name_size - 1])
			return 0;
		count = MAX(count, end);
	}
	return count;
}

/* What an attempt that fails leaves, the next one forgets. */
static int read_descriptors(struct kvm_stats *stats)
{
	struct kvm_stats_header *header = &stats->header;
	int r = read_at(stats->fd, header, sizeof(*header), 0);

	if (r)
		return r;
	if (!header->num_desc || header->num_desc > STATS_MAX || !header->name_size ||
	    header->name_size > NAME_SIZE || header->name_size % sizeof(uint64_t))
		return -EPROTO;
	forget_descriptors(stats);
	stats->descriptors = malloc(header->num_desc * descriptor_size(stats));
	if (!stats->descriptors)
		return -ENOMEM;
	r = read_at(stats->fd, stats->descriptors, header->num_desc * descriptor_size(stats),
		    header->desc_offset);
	if (r)
		return r;
	stats->value_count = count_values(stats);
	stats->values = calloc(stats->value_count, sizeof(*stats->values));
	if (!stats->value_count || !stats->values)
		return stats->value_count ? -ENOMEM : -EPROTO;
	stats->read = true;
	return 0;
}

static bool is_plain_count(const struct kvm_stats_desc *one)
{
	return (one->flags & KVM_STATS_TYPE_MASK) == KVM_STATS_TYPE_CUMULATIVE &&
	       (one->flags & KVM_STATS_UNIT_MASK) == KVM_STATS_UNIT_NONE && one->exponent == 0 &&
	       one->size == 1;
}

int kvm_stats_read(struct kvm_stats *stats,
		   void (*each)(void *context, const char *name, uint64_t value), void *context)
{
	int r = stats->read ? 0 : read_descriptors(stats);

	if (!r)
		r = read_at(stats->fd, stats->values, stats->value_count * sizeof(*stats->values),
			    stats->header.data_offset);
	for (unsigned int i = 0; !r && i < stats->header.num_desc; i++) {
		const struct kvm_stats_desc *one = descriptor(stats, i);

		if (is_plain_count(one))
			each(context, one->name, stats->values[one->offset / sizeof(uint64_t)]);
	}
	return r;
}

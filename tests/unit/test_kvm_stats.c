#include <errno.h>
#include <linux/kvm.h>
#include <string.h>
#include <unistd.h>

#include "base/memfd.h"
#include "suite.h"
#include "vmm/kvm_stats.h"

#define NAME_SIZE 48u

/* A file of statistics as the kernel lays it out. */
struct file {
	struct kvm_stats_header header;
	char id[NAME_SIZE];
	struct {
		uint32_t flags;
		int16_t exponent;
		uint16_t size;
		uint32_t offset;
		uint32_t bucket_size;
		char name[NAME_SIZE];
	} one[3];
	uint64_t values[4];
};

static struct file file;

static void setup(void)
{
	file = (struct file){
		.header = {.name_size = NAME_SIZE,
			   .num_desc = 3,
			   .id_offset = offsetof(struct file, id),
			   .desc_offset = offsetof(struct file, one),
			   .data_offset = offsetof(struct file, values)},
		.one = {{KVM_STATS_TYPE_CUMULATIVE, 0, 1, 0, 0, "exits"},
			{KVM_STATS_TYPE_LOG_HIST, 0, 2, 8, 0, "halt_wait_hist"},
			{KVM_STATS_TYPE_CUMULATIVE, 0, 1, 24, 0, "halt_exits"}},
		.values = {100, 7, 8, 40},
	};
}

struct sums {
	unsigned int calls;
	uint64_t exits, halt_exits;
};

static void add(void *context, const char *name, uint64_t value)
{
	struct sums *sums = context;

	sums->calls++;
	if (!strcmp(name, "exits"))
		sums->exits += value;
	if (!strcmp(name, "halt_exits"))
		sums->halt_exits += value;
}

static int read_file(size_t size, unsigned int times, struct sums *sums)
{
	struct kvm_stats *stats;
	int fd = memfd_new("stats", 0);
	int r = 0;

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, &file, size), (ssize_t)size);
	ck_assert_int_eq(kvm_stats_new(fd, &stats), 0);
	while (!r && times--)
		r = kvm_stats_read(stats, add, sums);
	kvm_stats_free(stats);
	return r;
}

START_TEST(plain_counts_are_told)
{
	struct sums sums = {0};

	ck_assert_int_eq(read_file(sizeof(file), 2, &sums), 0);
	ck_assert_uint_eq(sums.calls, 4);
	ck_assert_uint_eq(sums.exits, 200);
	ck_assert_uint_eq(sums.halt_exits, 80);
}
END_TEST

START_TEST(what_has_a_unit_is_no_count)
{
	struct sums sums = {0};

	file.one[2].flags |= KVM_STATS_UNIT_SECONDS;
	file.one[0].flags = KVM_STATS_TYPE_INSTANT;
	ck_assert_int_eq(read_file(sizeof(file), 1, &sums), 0);
	ck_assert_uint_eq(sums.calls, 0);
}
END_TEST

START_TEST(descriptions_that_make_no_sense_are_refused)
{
	struct sums sums = {0};

	switch (_i) {
	case 0:
		file.header.num_desc = 0;
		break;
	case 1:
		file.header.num_desc = UINT32_MAX;
		break;
	case 2:
		file.header.name_size = UINT32_MAX;
		break;
	case 3:
		file.one[2].offset = 4;
		break;
	case 4:
		file.one[2].offset = UINT32_MAX - 7;
		break;
	case 5:
		file.one[1].size = 0;
		break;
	case 6:
		memset(file.one[0].name, 'x', NAME_SIZE);
		break;
	case 7:
		file.header.data_offset = sizeof(file);
		break;
	default:
		break;
	}
	ck_assert_int_eq(read_file(_i == 8 ? 40 : sizeof(file), 1, &sums), -EPROTO);
	ck_assert_uint_eq(sums.calls, 0);
}
END_TEST

int main(void)
{
	TCase *test_case;
	Suite *suite = suite_of("kvm_stats", &test_case);

	tcase_add_checked_fixture(test_case, setup, NULL);
	tcase_add_test(test_case, plain_counts_are_told);
	tcase_add_test(test_case, what_has_a_unit_is_no_count);
	tcase_add_loop_test(test_case, descriptions_that_make_no_sense_are_refused, 0, 9);
	return suite_run(suite);
}

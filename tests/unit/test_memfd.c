/* Files in memory: their size, and kernels that cannot forbid to execute them. */
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/memfd.h"
#include "suite.h"

#define NOEXEC_SEAL 0x0008u

static off_t length_of(int fd)
{
	struct stat status;

	ck_assert_int_eq(fstat(fd, &status), 0);
	return status.st_size;
}

static void check_mode(int fd)
{
	struct stat status;

	ck_assert_int_eq(fstat(fd, &status), 0);
	ck_assert_uint_eq(status.st_mode & 07777, 0600);
}

static void check_fixed(int fd)
{
	ck_assert_int_ge(fd, 0);
	check_mode(fd);
	ck_assert_int_eq(length_of(fd), 8192);
	ck_assert_int_eq(ftruncate(fd, 4096), -1);
	ck_assert_int_eq(ftruncate(fd, 16384), -1);
	ck_assert_int_eq(fcntl(fd, F_GETFD), FD_CLOEXEC);
	ck_assert_int_eq(pwrite(fd, "x", 1, 8191), 1);
	close(fd);
}

START_TEST(a_size_stays)
{
	check_fixed(memfd_new("fixed", 8192));
}
END_TEST

START_TEST(no_size_grows)
{
	int fd = memfd_new("free", 0);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(length_of(fd), 0);
	ck_assert_int_eq(write(fd, "four", 4), 4);
	ck_assert_int_eq(length_of(fd), 4);
	close(fd);
}
END_TEST

/* Makes the kernel one that does not know the flag. */
static void forget_flag(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_memfd_create, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[1])),
		BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, NOEXEC_SEAL, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EINVAL),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {ARRAY_LENGTH(code), code};

	ck_assert_int_eq(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
	ck_assert_int_eq(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0), 0);
}

/* In a process of its own, as each test is. */
START_TEST(an_older_kernel_will_do)
{
	forget_flag();
	check_fixed(memfd_new("old", 8192));
}
END_TEST

int main(void)
{
	TCase *test_case;
	Suite *suite = suite_of("memfd", &test_case);

	tcase_add_test(test_case, a_size_stays);
	tcase_add_test(test_case, no_size_grows);
	tcase_add_test(test_case, an_older_kernel_will_do);
	return suite_run(suite);
}

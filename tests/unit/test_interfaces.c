#include <unistd.h>

#include "base/unix_socket.h"
#include "base/varlink.h"
#include "mgmt/vm_interface.h"
#include "mgmt/vmms/interface.h"
#include "suite.h"

/* A service starts only where its definitions can be read and declare all methods that it has. */
static void expect_service(const struct varlink_service *service)
{
	char path[64];
	struct unix_listener listener;
	struct varlink_server *server;
	struct event_loop *loop;

	snprintf(path, sizeof(path), "/tmp/bulkhead-test-%d.sock", getpid());
	ck_assert_int_eq(unix_listen(path, 0600, &listener), 0);
	ck_assert_int_eq(event_loop_new(&loop), 0);
	ck_assert_int_eq(varlink_server_new(loop, listener.fd, service, NULL, &server), 0);
	varlink_server_free(server);
	event_loop_free(loop);
	unix_listener_close(&listener, path);
}

START_TEST(a_vm_can_be_served)
{
	expect_service(vm_interface_service());
}
END_TEST

START_TEST(the_daemon_can_be_served)
{
	expect_service(vmms_interface());
}
END_TEST

int main(void)
{
	TCase *tests;
	Suite *suite = suite_of("interfaces", &tests);

	tcase_add_test(tests, a_vm_can_be_served);
	tcase_add_test(tests, the_daemon_can_be_served);
	return suite_run(suite);
}

#pragma once

struct request;
struct vm;

/* The handlers of io.bulkhead.VMMS, as struct vmms_method has them. */

/* methods_host.c */
void method_show_host(struct request *request, struct vm *vm);
void method_watch_events(struct request *request, struct vm *vm);

/* methods_image.c: one for all, told apart by the data of the method */
struct image_method;
extern const struct image_method image_create, image_info, image_check, image_convert, image_resize,
	image_compact;
void method_image(struct request *request, struct vm *vm);

/* methods_trace.c */
void method_show_trace(struct request *request, struct vm *vm);

/* methods_doctor.c */
void method_check_host(struct request *request, struct vm *vm);

/* methods_measure.c */
void method_measure(struct request *request, struct vm *vm);
void method_reset_measure(struct request *request, struct vm *vm);

/* methods_metrics.c */
void method_get_metrics(struct request *request, struct vm *vm);

/* methods_define.c */
void method_create(struct request *request, struct vm *vm);
void method_list(struct request *request, struct vm *vm);
void method_get(struct request *request, struct vm *vm);
void method_remove(struct request *request, struct vm *vm);

/* methods_life.c */
void method_start(struct request *request, struct vm *vm);
void method_pause(struct request *request, struct vm *vm);
void method_resume(struct request *request, struct vm *vm);
void method_wait(struct request *request, struct vm *vm);

/* methods_stop.c */
void method_stop(struct request *request, struct vm *vm);
void method_restart(struct request *request, struct vm *vm);

/* methods_save.c */
void method_save(struct request *request, struct vm *vm);
void method_discard(struct request *request, struct vm *vm);

/* shutdown.c */
void method_shut_down_host(struct request *request, struct vm *vm);

/* methods_change.c */
void method_set(struct request *request, struct vm *vm);
void method_rename(struct request *request, struct vm *vm);

/* methods_devices.c */
void method_attach_disk(struct request *request, struct vm *vm);
void method_detach_disk(struct request *request, struct vm *vm);
void method_set_disk(struct request *request, struct vm *vm);
void method_change_medium(struct request *request, struct vm *vm);
void method_attach_controller(struct request *request, struct vm *vm);
void method_detach_controller(struct request *request, struct vm *vm);
void method_attach_nic(struct request *request, struct vm *vm);
void method_detach_nic(struct request *request, struct vm *vm);
void method_set_nic(struct request *request, struct vm *vm);

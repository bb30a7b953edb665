/* A library that has all of WHOLE, but refuses the first call of REFUSED, as a driver may. */
#include <dlfcn.h>

#define TEXT(NAME) #NAME
#define NAME_OF(MACRO) TEXT(MACRO)

enum { ACL_ERROR_RT_DRV_INTERNAL_ERROR = 507899 };

int REFUSED(void *argument);

int REFUSED(void *argument) {
    static int refused;
    if (!refused) {
        refused = 1;
        return ACL_ERROR_RT_DRV_INTERNAL_ERROR;
    }
    int (*whole)(void *);
    *(void **)&whole = dlsym(dlopen(NAME_OF(WHOLE), RTLD_LAZY), NAME_OF(REFUSED));
    return whole(argument);
}

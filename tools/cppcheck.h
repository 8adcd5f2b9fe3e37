/* Read by cppcheck before each file: macros of libraries whose headers it is not given. */
#define json_array_foreach(array, index, value)                                                    \
    for ((index) = 0;                                                                              \
         (index) < json_array_size(array) && ((value) = json_array_get((array), (index)));         \
         (index)++)

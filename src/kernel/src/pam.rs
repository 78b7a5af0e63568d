//! Passwords of this host's users, by PAM. The library is loaded when the first password is checked: linked in, it would cost every
//! start of every command, and a host without it can do all else.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::sync::OnceLock;

/// What Linux-PAM is called, by its interface's version.
const LIBRARY: &CStr = c"libpam.so.0";
/// `PAM_*` of `security/_pam_types.h`.
const SUCCESS: c_int = 0;
const BUF_ERR: c_int = 5;
const CONV_ERR: c_int = 19;
const PROMPT_ECHO_OFF: c_int = 1;
const MAX_MESSAGES: c_int = 32;

#[repr(C)]
struct Message {
    style: c_int,
    text: *const c_char,
}

#[repr(C)]
struct Answer {
    text: *mut c_char,
    code: c_int,
}

type Converse = unsafe extern "C" fn(c_int, *mut *const Message, *mut *mut Answer, *mut c_void) -> c_int;

#[repr(C)]
struct Conversation {
    converse: Converse,
    data: *mut c_void,
}

type Handle = *mut c_void;

struct Pam {
    start: unsafe extern "C" fn(*const c_char, *const c_char, *const Conversation, *mut Handle) -> c_int,
    authenticate: unsafe extern "C" fn(Handle, c_int) -> c_int,
    account: unsafe extern "C" fn(Handle, c_int) -> c_int,
    end: unsafe extern "C" fn(Handle, c_int) -> c_int,
}

/// Whether that is the user's password, and the account good. Blocks, after a wrong one for some seconds. An error where passwords
/// cannot be checked at all.
pub fn check(service: &str, user: &str, password: &str) -> Result<bool, String> {
    let text = |what: &str| CString::new(what).map_err(|_| "a zero byte in a name".to_owned());
    let (service, user) = (text(service)?, text(user)?);
    // No password has one.
    let Ok(password) = CString::new(password) else { return Ok(false) };
    let pam = pam()?;
    let conversation = Conversation { converse, data: password.as_ptr().cast_mut().cast() };
    let mut handle: Handle = std::ptr::null_mut();
    // SAFETY: all pointers outlive the call, and the conversation with its data outlives the handle, which ends below.
    let mut code = unsafe { (pam.start)(service.as_ptr(), user.as_ptr(), &conversation, &mut handle) };
    if code != SUCCESS || handle.is_null() {
        return Err(format!("PAM does not start (code {code})"));
    }
    // SAFETY: the handle is one that pam_start has given.
    unsafe {
        code = (pam.authenticate)(handle, 0);
        if code == SUCCESS {
            code = (pam.account)(handle, 0);
        }
        (pam.end)(handle, code);
    }
    wipe(password);
    if code != SUCCESS {
        tracing::info!("PAM refuses {} (code {code})", user.to_string_lossy());
    }
    Ok(code == SUCCESS)
}

fn wipe(password: CString) {
    let mut bytes = password.into_bytes();
    bytes.fill(0);
    std::hint::black_box(&bytes);
}

/// Answers every question without echo with the password, and no other.
unsafe extern "C" fn converse(
    count: c_int,
    messages: *mut *const Message,
    answers: *mut *mut Answer,
    password: *mut c_void,
) -> c_int {
    if !(1..=MAX_MESSAGES).contains(&count) || messages.is_null() || answers.is_null() {
        return CONV_ERR;
    }
    let count = usize::try_from(count).unwrap_or(0);
    // SAFETY: PAM gives `count` pointers to messages, and takes as many answers in memory of malloc's, which it frees; zeroed,
    // each is an answer without text. The password is the C string that `check` holds meanwhile.
    unsafe {
        let all = libc::calloc(count, size_of::<Answer>()).cast::<Answer>();
        if all.is_null() {
            return BUF_ERR;
        }
        for at in 0..count {
            let message = *messages.add(at);
            if !message.is_null() && (*message).style == PROMPT_ECHO_OFF {
                (*all.add(at)).text = libc::strdup(password.cast::<c_char>());
            }
        }
        *answers = all;
    }
    SUCCESS
}

fn pam() -> Result<&'static Pam, String> {
    static PAM: OnceLock<Option<Pam>> = OnceLock::new();
    let loaded = PAM.get_or_init(|| {
        // SAFETY: the names are C strings; the library is never unloaded. Each symbol is the function of that name and type in
        // `security/pam_appl.h`.
        unsafe {
            let library = libc::dlopen(LIBRARY.as_ptr(), libc::RTLD_NOW | libc::RTLD_GLOBAL);
            if library.is_null() {
                return None;
            }
            let symbol = |name: &CStr| {
                let found = libc::dlsym(library, name.as_ptr());
                (!found.is_null()).then_some(found)
            };
            Some(Pam {
                start: std::mem::transmute::<
                    *mut c_void,
                    unsafe extern "C" fn(*const c_char, *const c_char, *const Conversation, *mut Handle) -> c_int,
                >(symbol(c"pam_start")?),
                authenticate: act(symbol(c"pam_authenticate")?),
                account: act(symbol(c"pam_acct_mgmt")?),
                end: act(symbol(c"pam_end")?),
            })
        }
    });
    loaded.as_ref().ok_or_else(|| "libpam.so.0 cannot be loaded (Debian: libpam0g): log in by a token".to_owned())
}

/// # Safety
/// The symbol is a function of a handle and an integer.
unsafe fn act(symbol: *mut c_void) -> unsafe extern "C" fn(Handle, c_int) -> c_int {
    // SAFETY: see above.
    unsafe { std::mem::transmute::<*mut c_void, unsafe extern "C" fn(Handle, c_int) -> c_int>(symbol) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_gets_in_with_what_is_no_password() {
        // Without the library that is said; with it an unknown user is refused as one with a wrong password.
        match check("bascule-no-such-service", "no-such-user", "x") {
            Ok(good) => assert!(!good),
            Err(why) => assert!(why.contains("PAM") || why.contains("libpam"), "{why}"),
        }
        assert_eq!(check("other", "root", "a\0b"), Ok(false));
        assert!(check("o\0ther", "root", "x").is_err());
    }

    #[test]
    fn only_hidden_questions_are_answered() {
        let password = CString::new("secret").expect("text");
        let messages = [
            Message { style: PROMPT_ECHO_OFF, text: c"Password:".as_ptr() },
            Message { style: 2, text: c"Login:".as_ptr() },
        ];
        let mut pointers: Vec<*const Message> = messages.iter().map(std::ptr::from_ref).collect();
        let mut answers: *mut Answer = std::ptr::null_mut();
        // SAFETY: as PAM calls it.
        unsafe {
            let data = password.as_ptr().cast_mut().cast();
            assert_eq!(converse(2, pointers.as_mut_ptr(), &mut answers, data), SUCCESS);
            assert_eq!(CStr::from_ptr((*answers).text).to_str(), Ok("secret"));
            assert!((*answers.add(1)).text.is_null());
            libc::free((*answers).text.cast());
            libc::free(answers.cast());
            assert_eq!(converse(0, pointers.as_mut_ptr(), &mut answers, data), CONV_ERR);
            assert_eq!(converse(33, pointers.as_mut_ptr(), &mut answers, data), CONV_ERR);
        }
    }
}

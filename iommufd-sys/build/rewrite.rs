//! What bindgen cannot be asked for: its output is rewritten so that all of it is plain data and safe to use.
//!
//! - The kernel's integer names (`__u32`) and bindgen's names for nameless enums become Rust's integers.
//! - A flexible array member becomes `[T; 0]`, which marks offset and element without bindgen's unsafe methods.
//! - Every struct gets the derives its fields allow.
//! - A nameless union whose members all have one type becomes one field, named after its first member: reading a union
//!   is unsafe and `zerocopy` cannot see one as bytes. `src/unions.rs` gives the other names. (The headers have no other
//!   unions. One of different types would stay, and the derives of the struct around it would not compile.)

use std::collections::{HashMap, HashSet};

use quote::{ToTokens, format_ident};
use syn::visit_mut::{self, VisitMut};
use syn::{
    Attribute, Field, File, GenericArgument, Item, ItemStruct, PathArguments, Type, parse_quote,
};

const FLEXIBLE: &str = "__IncompleteArrayField";

pub(crate) fn rewrite(source: &str) -> syn::Result<String> {
    let mut file: File = syn::parse_str(source)?;
    let mut rewriter = Rewriter::default();
    file.items.retain(|item| !rewriter.takes(item));
    rewriter.visit_file_mut(&mut file);
    Ok(file.into_token_stream().to_string())
}

#[derive(Default)]
struct Rewriter {
    aliases: HashMap<String, Type>,
    unions: HashMap<String, Field>,
    /// Structs with a pointer in them, which cannot be made from bytes nor seen as bytes.
    with_pointers: HashSet<String>,
}

impl Rewriter {
    /// Whether the item disappears; remembers what stands for it.
    fn takes(&mut self, item: &Item) -> bool {
        match item {
            Item::Type(alias) if alias.ident.to_string().starts_with('_') => {
                self.aliases
                    .insert(alias.ident.to_string(), (*alias.ty).clone());
                true
            }
            Item::Union(union) => {
                let mut fields = union.fields.named.iter();
                let Some(first) = fields.next() else {
                    return false;
                };
                if fields.any(|field| field.ty != first.ty) {
                    return false;
                }
                self.unions.insert(union.ident.to_string(), first.clone());
                true
            }
            Item::Struct(s) => s.ident == FLEXIBLE,
            Item::Impl(i) => i
                .self_ty
                .to_token_stream()
                .to_string()
                .starts_with(FLEXIBLE),
            _ => false,
        }
    }

    /// bindgen's derives are replaced: it derives less for what held a union.
    fn derives(&mut self, item: &ItemStruct) -> Attribute {
        let pointers = item.fields.iter().any(|field| self.has_pointer(&field.ty));
        if pointers {
            self.with_pointers.insert(item.ident.to_string());
            return parse_quote!(#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, FromZeros, Immutable, KnownLayout)]);
        }
        // Nothing that copies or compares the head alone of what is longer.
        if item.fields.iter().any(|field| is_empty_array(&field.ty)) {
            return parse_quote!(#[derive(Debug, FromBytes, Immutable, IntoBytes, KnownLayout)]);
        }
        parse_quote!(#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, FromBytes, Immutable, IntoBytes, KnownLayout)])
    }

    fn has_pointer(&self, ty: &Type) -> bool {
        matches!(ty, Type::Ptr(_))
            || name(ty).is_some_and(|name| self.with_pointers.contains(&name))
    }
}

impl VisitMut for Rewriter {
    fn visit_field_mut(&mut self, field: &mut Field) {
        if let Some(member) = name(&field.ty).and_then(|name| self.unions.get(&name)) {
            *field = member.clone();
        }
        visit_mut::visit_field_mut(self, field);
    }

    fn visit_item_struct_mut(&mut self, item: &mut ItemStruct) {
        visit_mut::visit_item_struct_mut(self, item);
        item.attrs
            .retain(|attribute| !attribute.path().is_ident("derive"));
        let derives = self.derives(item);
        item.attrs.push(derives);
    }

    fn visit_type_mut(&mut self, ty: &mut Type) {
        if let Some(element) = flexible(ty) {
            *ty = parse_quote!([#element; 0]);
        }
        while let Some(target) = name(ty).and_then(|name| self.aliases.get(&name)) {
            *ty = target.clone();
        }
        if let Some(int) = name(ty).and_then(|name| integer(&name)) {
            let int = format_ident!("{int}");
            *ty = parse_quote!(#int);
        }
        visit_mut::visit_type_mut(self, ty);
    }
}

/// The last segment of the type's path.
fn name(ty: &Type) -> Option<String> {
    let Type::Path(path) = ty else { return None };
    path.path
        .segments
        .last()
        .map(|segment| segment.ident.to_string())
}

fn is_empty_array(ty: &Type) -> bool {
    matches!(ty, Type::Array(array) if array.len == parse_quote!(0))
}

/// `T` of `__IncompleteArrayField<T>`.
fn flexible(ty: &Type) -> Option<Type> {
    let Type::Path(path) = ty else { return None };
    let segment = path
        .path
        .segments
        .last()
        .filter(|segment| segment.ident == FLEXIBLE)?;
    let PathArguments::AngleBracketed(arguments) = &segment.arguments else {
        return None;
    };
    match arguments.args.first()? {
        GenericArgument::Type(element) => Some(element.clone()),
        _ => None,
    }
}

/// C's integers as they are on every 64-bit Linux, for those the headers reach through `__u64` and the like.
fn integer(c: &str) -> Option<&'static str> {
    Some(match c {
        "c_schar" => "i8",
        "c_uchar" => "u8",
        "c_short" => "i16",
        "c_ushort" => "u16",
        "c_int" => "i32",
        "c_uint" => "u32",
        "c_longlong" => "i64",
        "c_ulonglong" => "u64",
        _ => return None,
    })
}
